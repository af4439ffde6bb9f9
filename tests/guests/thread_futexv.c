/* futex_waitv and the newer calls futex_wait, futex_wake and futex_requeue, as
 * far as the kernel here has them. */
#include "futexes.h"
enum { WAITV = 449, WAKE = 454, WAIT, REQUEUE, SMALL = 2, PRIVATE = 128, WORDS = 5 };
struct waiter {
	uint64_t value, at;
	uint32_t flags, zero;
};
static word words[WORDS], other;
static struct waiter waiters[WORDS];
static atomic_int turns;
static void fill(void)
{
	for (int i = 0; i < WORDS; i++)
		waiters[i] = (struct waiter){ 0, (uintptr_t)&words[i], SMALL | PRIVATE, 0 };
}
static long waitv(unsigned count, const void *time, clockid_t clock)
{
	return syscall(WAITV, waiters, count, 0, time, clock);
}
static void *waits(void *unused)
{
	for (int i = 0; i < WORDS; i++, turns++)
		CHECK(waitv(WORDS, NULL, CLOCK_MONOTONIC) == (i * 3) % WORDS);
	return unused;
}
static void *waits_at_one(void *number)
{
	CHECK(syscall(WAIT, &words[0], 0, 1 << (long)number, SMALL | PRIVATE, NULL, CLOCK_MONOTONIC) == 0);
	return number;
}
static void vectors(void)
{
	struct timespec steady = from_now(CLOCK_MONOTONIC, 20), real = from_now(CLOCK_REALTIME, 20);
	fill();
	FAILS(waitv(WORDS, &steady, CLOCK_MONOTONIC), ETIMEDOUT);
	FAILS(waitv(WORDS, &real, CLOCK_REALTIME), ETIMEDOUT);
	FAILS(waitv(WORDS, &real, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
	FAILS(waitv(0, NULL, CLOCK_MONOTONIC), EINVAL);
	FAILS(waitv(129, NULL, CLOCK_MONOTONIC), EINVAL);
	waiters[3].value = 1;
	FAILS(waitv(WORDS, NULL, CLOCK_MONOTONIC), EAGAIN);
	waiters[3].zero = 1;
	FAILS(waitv(WORDS, NULL, CLOCK_MONOTONIC), EINVAL);
	fill();
	waiters[2].at = 8;
	FAILS(waitv(WORDS, NULL, CLOCK_MONOTONIC), EFAULT);
	fill();
	pthread_t thread = begin(waits, NULL);
	for (int i = 0; i < WORDS; i++) {
		while (futex(&words[(i * 3) % WORDS], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0)
			usleep(200);
		/* Until it is back, its other words have a waiter still. */
		while (turns <= i)
			usleep(200);
	}
	ended(thread);
	say("vectors\n");
}
static void newer(void)
{
	pthread_t threads[3];
	struct timespec steady = from_now(CLOCK_MONOTONIC, 20);
	FAILS(syscall(WAIT, &words[0], 1, 1, SMALL | PRIVATE, NULL, CLOCK_MONOTONIC), EAGAIN);
	FAILS(syscall(WAIT, &words[0], 0, 0, SMALL | PRIVATE, NULL, CLOCK_MONOTONIC), EINVAL);
	FAILS(syscall(WAIT, &words[0], 0, 1, SMALL | PRIVATE, &steady, CLOCK_MONOTONIC), ETIMEDOUT);
	FAILS(syscall(WAKE, &words[0], 1, 1, 64), EINVAL);
	for (long i = 0; i < 3; i++)
		threads[i] = begin(waits_at_one, (void *)i);
	fill();
	waiters[1].at = (uintptr_t)&other;
	for (long moved = 0; moved < 3; usleep(200))
		moved += syscall(REQUEUE, waiters, 0, 0, 10);
	CHECK(syscall(WAKE, &other, 1, 0, SMALL | PRIVATE) == 0);
	say("woken %ld ", syscall(WAKE, &other, 1 << 1, 10, SMALL | PRIVATE));
	ended(threads[1]);
	say("%ld\n", syscall(WAKE, &other, 5, 10, SMALL | PRIVATE));
	ended(threads[0]);
	ended(threads[2]);
}
int main(void)
{
	int has_vectors = syscall(WAITV, NULL, 0, 0, NULL, 0) == -1 && errno != ENOSYS;
	int has_newer = syscall(WAKE, &words[0], 1, 1, SMALL | PRIVATE) == 0;
	say("vectors %d, newer %d\n", has_vectors, has_newer);
	if (has_vectors)
		vectors();
	if (has_newer)
		newer();
	return 0;
}
