/* Waits that end as the owner of a lock: the lock is free or owned when they are
 * moved to it, one is moved at a time or all; timeouts, a handler, refusals. */
#include "futexes.h"
enum { P = FUTEX_PRIVATE_FLAG, WAITS = FUTEX_WAIT_REQUEUE_PI, MOVES = FUTEX_CMP_REQUEUE_PI };
static word lock, condition;
static atomic_int waiting[3], handled, total;
static int flags;
static void take(void)
{
	unsigned none = 0;
	if (!atomic_compare_exchange_strong(&lock, &none, (unsigned)gettid()))
		CHECK(futex(&lock, FUTEX_LOCK_PI | flags, 0, NULL, NULL, 0) == 0);
}
static void give(void)
{
	unsigned mine = (unsigned)gettid();
	if (!atomic_compare_exchange_strong(&lock, &mine, 0))
		CHECK(futex(&lock, FUTEX_UNLOCK_PI | flags, 0, NULL, NULL, 0) == 0);
}
static void *waits(void *number)
{
	waiting[(long)number] = gettid();
	CHECK(futex(&condition, WAITS | flags, 0, NULL, &lock, 0) == 0);
	CHECK((lock & FUTEX_TID_MASK) == (unsigned)gettid());
	total++;
	usleep(1000);
	give();
	return number;
}
static long moves(long most)
{
	return futex(&condition, MOVES | flags, 1, (void *)most, &lock, 0);
}
static void round_of(int owned, long most)
{
	pthread_t threads[3];
	total = 0;
	for (long i = 0; i < 3; i++) {
		waiting[i] = 0;
		threads[i] = begin(waits, (void *)i);
		asleep(&waiting[i]);
	}
	if (owned)
		take();
	for (long moved = 0; moved < 3; usleep(200)) {
		long now = moves(most);
		CHECK(now >= 0 && now <= most + 1);
		moved += now;
	}
	if (owned) {
		CHECK(total == 0);
		give();
	}
	for (int i = 0; i < 3; i++)
		ended(threads[i]);
	CHECK(total == 3 && lock == 0);
}
static void handle(int signal)
{
	handled += signal > 0;
}
static void alone(void)
{
	struct timespec past = { 1, 0 }, steady = from_now(CLOCK_MONOTONIC, 20), real = from_now(CLOCK_REALTIME, 20);
	FAILS(futex(&condition, WAITS | flags, 0, &past, &lock, 0), ETIMEDOUT);
	FAILS(futex(&condition, WAITS | flags, 0, &steady, &lock, 0), ETIMEDOUT);
	FAILS(futex(&condition, WAITS | FUTEX_CLOCK_REALTIME | flags, 0, &real, &lock, 0), ETIMEDOUT);
	FAILS(futex(&condition, WAITS | flags, 1, NULL, &lock, 0), EAGAIN);
	FAILS(futex(&condition, WAITS | flags, 0, NULL, &condition, 0), EINVAL);
	FAILS(futex(&condition, MOVES | flags, 1, (void *)1, &lock, 1), EAGAIN);
	FAILS(futex(&condition, MOVES | flags, 0, (void *)1, &lock, 0), EINVAL);
	FAILS(futex(&condition, MOVES | flags, 1, (void *)-1l, &lock, 0), EINVAL);
	FAILS(futex(&condition, MOVES | flags, 1, (void *)1, &condition, 0), EINVAL);
	CHECK(moves(5) == 0 && lock == 0);
}
int main(void)
{
	struct sigaction action = { .sa_handler = handle };
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	for (int i = 0; i < 2; i++) {
		flags = i ? P : 0;
		alone();
		round_of(1, 10);
		round_of(0, 10);
		round_of(1, 0);
		round_of(0, 0);
		waiting[0] = handled = total = 0;
		pthread_t thread = begin(waits, NULL);
		asleep(&waiting[0]);
		OK(pthread_kill(thread, SIGUSR1));
		while (handled == 0)
			usleep(500);
		while (moves(0) == 0)
			usleep(500);
		ended(thread);
		CHECK(total == 1);
	}
	say("ok thread_requeue\n");
	return 0;
}
