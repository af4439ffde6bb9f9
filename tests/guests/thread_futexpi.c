/* The kernel's locks: LOCK_PI, TRYLOCK_PI and UNLOCK_PI with what they write to
 * the word and what they refuse, and waiters requeued to such a lock. */
#include "futexes.h"
enum { P = FUTEX_PRIVATE_FLAG };
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
static word lock, condition;
static long total;
static void locks(void)
{
	unsigned none = 0;
	if (!atomic_compare_exchange_strong(&lock, &none, (unsigned)gettid()))
		CHECK(futex(&lock, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0) == 0);
	CHECK((lock & FUTEX_TID_MASK) == (unsigned)gettid());
}
static void unlocks(void)
{
	unsigned mine = (unsigned)gettid();
	if (!atomic_compare_exchange_strong(&lock, &mine, 0))
		CHECK(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0) == 0);
}
static void *adds(void *number)
{
	for (int i = 0; i < 500; i++) {
		locks();
		total += (long)number + 1;
		if (i % 50 == 0)
			sched_yield();
		unlocks();
	}
	return number;
}
static void *others(void *unused)
{
	struct timespec past = { 1, 0 }, real = from_now(CLOCK_REALTIME, 20), steady = from_now(CLOCK_MONOTONIC, 20);
	FAILS(futex(&lock, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0), EAGAIN);
	FAILS(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0), EPERM);
	FAILS(futex(&lock, FUTEX_LOCK_PI | P, 0, &past, NULL, 0), ETIMEDOUT);
	FAILS(futex(&lock, FUTEX_LOCK_PI | P, 0, &real, NULL, 0), ETIMEDOUT);
	FAILS(futex(&lock, FUTEX_LOCK_PI2 | P, 0, &steady, NULL, 0), ETIMEDOUT);
	return unused;
}
static void *tells(void *to)
{
	*(pid_t *)to = gettid();
	return to;
}
static void *waits(void *number)
{
	CHECK(futex(&condition, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, &lock, 0) == 0);
	CHECK((lock & FUTEX_TID_MASK) == (unsigned)gettid());
	total += (long)number + 1;
	unlocks();
	return number;
}
int main(void)
{
	pthread_t threads[3];
	pid_t gone;
	all(4, adds);
	CHECK(lock == 0);
	say("total %ld\n", total);
	CHECK(futex(&lock, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0) == 0 && lock == (unsigned)gettid());
	FAILS(futex(&lock, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0), EDEADLK);
	FAILS(futex(&lock, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0), EDEADLK);
	FAILS(futex(&lock, FUTEX_WAIT | P, 0, NULL, NULL, 0), EAGAIN);
	ended(begin(others, NULL));
	CHECK((lock & FUTEX_TID_MASK) == (unsigned)gettid());
	CHECK(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0) == 0 && lock == 0);
	FAILS(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0), EPERM);
	CHECK(futex(&lock, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0) == 0);
	CHECK(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0) == 0);
	FAILS(futex((word *)8, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0), EFAULT);
	FAILS(futex((word *)((char *)&lock + 1), FUTEX_LOCK_PI | P, 0, NULL, NULL, 0), EINVAL);
	ended(begin(tells, &gone));
	while (syscall(SYS_tgkill, getpid(), gone, 0) == 0)
		usleep(500);
	lock = (unsigned)gone;
	FAILS(futex(&lock, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0), ESRCH);
	say("errors told\n");
	lock = 0;
	total = 0;
	locks();
	for (long i = 0; i < 3; i++)
		threads[i] = begin(waits, (void *)i);
	for (long moved = 0; moved < 3; usleep(200)) {
		long now = futex(&condition, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)10, &lock, 0);
		CHECK(now >= 0);
		moved += now;
	}
	CHECK(total == 0);
	unlocks();
	for (int i = 0; i < 3; i++)
		ended(threads[i]);
	FAILS(futex(&condition, FUTEX_CMP_REQUEUE_PI | P, 2, (void *)10, &lock, 0), EINVAL);
	FAILS(futex(&lock, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, &lock, 0), EINVAL);
	say("requeued: total %ld\n", total);
	return 0;
}
