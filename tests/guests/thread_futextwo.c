/* What futex_waitv, futex_wake, futex_wait and futex_requeue refuse, their timeouts,
 * and what a handler does to a wait, with private words and shared ones. */
#include "futexes.h"
enum { WAITV = 449, WAKE = 454, WAIT, REQUEUE, SMALL = 2 };
struct waiter {
	uint64_t value, at;
	uint32_t flags, zero;
};
static word words[3];
static struct waiter waiters[3];
static atomic_int waiting, handled;
static int flags;
static void fill(void)
{
	for (int i = 0; i < 3; i++)
		waiters[i] = (struct waiter){ 0, (uintptr_t)&words[i], (uint32_t)(SMALL | flags), 0 };
}
static long waitv(unsigned count, unsigned none, const void *time, clockid_t clock)
{
	return syscall(WAITV, waiters, count, none, time, clock);
}
static long waits(word *at, long value, long mask, int with, const void *time, clockid_t clock)
{
	return syscall(WAIT, at, value, mask, with, time, clock);
}
static void refused(void)
{
	word *odd = (word *)((char *)words + 1), *gone = (word *)(-4096l);
	struct timespec bad = { 0, 1000000000 }, past = { 1, 0 };
	for (int size = 0; size < 4; size++)
		if (size != SMALL) {
			FAILS(waits(words, 0, 1, size | flags, NULL, 0), EINVAL);
			FAILS(syscall(WAKE, words, 1, 1, size | flags), EINVAL);
			waiters[1].flags = (uint32_t)(size | flags);
			FAILS(waitv(3, 0, NULL, 0), EINVAL);
			FAILS(syscall(REQUEUE, waiters, 0, 1, 1), EINVAL);
			fill();
		}
	FAILS(waits(odd, 0, 1, SMALL | flags, NULL, 0), EINVAL);
	FAILS(waits(gone, 0, 1, SMALL | flags, NULL, 0), EFAULT);
	FAILS(waits(words, 1l << 32, 1, SMALL | flags, NULL, 0), EINVAL);
	FAILS(waits(words, 0, 1l << 32, SMALL | flags, NULL, 0), EINVAL);
	FAILS(waits(words, 0, 1, SMALL | flags, &bad, CLOCK_MONOTONIC), EINVAL);
	FAILS(waits(words, 0, 1, SMALL | flags, &past, CLOCK_BOOTTIME), EINVAL);
	FAILS(waits(words, 0, 1, SMALL | flags, &past, CLOCK_MONOTONIC), ETIMEDOUT);
	FAILS(waits(words, 0, 1, SMALL | flags, &past, CLOCK_REALTIME), ETIMEDOUT);
	FAILS(syscall(WAKE, odd, 1, 1, SMALL | flags), EINVAL);
	FAILS(syscall(WAKE, gone, 1, 1, SMALL | flags), EFAULT);
	FAILS(syscall(WAKE, words, 0, 1, SMALL | flags), EINVAL);
	CHECK(syscall(WAKE, words, 1, 0, SMALL | flags) == 0);
	FAILS(waitv(3, 1, NULL, 0), EINVAL);
	FAILS(waitv(3, 0, &bad, CLOCK_MONOTONIC), EINVAL);
	FAILS(waitv(3, 0, &past, CLOCK_MONOTONIC), ETIMEDOUT);
	FAILS(syscall(WAITV, NULL, 3, 0, NULL, 0), EINVAL);
	FAILS(syscall(REQUEUE, NULL, 0, 1, 1), EINVAL);
	FAILS(syscall(REQUEUE, waiters, 1, 1, 1), EINVAL);
	FAILS(syscall(REQUEUE, waiters, 0, -1, 1), EINVAL);
	FAILS(syscall(REQUEUE, waiters, 0, 1, -1), EINVAL);
	CHECK(syscall(REQUEUE, waiters, 0, 1, 1) == 0);
	waiters[0].value = 1;
	FAILS(syscall(REQUEUE, waiters, 0, 1, 1), EAGAIN);
	fill();
}
static void handle(int signal)
{
	handled += signal > 0;
}
static void *interrupted(void *restarts)
{
	waiting = gettid();
	for (int i = 0; i < 2; i++) {
		long got = i == 0 ? waits(words, 0, 1, SMALL | flags, NULL, 0) : waitv(3, 0, NULL, 0);
		if (restarts)
			CHECK(got == (i == 0 ? 0 : 2));
		else
			CHECK(got == -1 && errno == EINTR);
		waiting = i == 0 ? gettid() : 0;
	}
	return restarts;
}
static void signals(void)
{
	for (long restarts = 0; restarts < 2; restarts++) {
		struct sigaction action = { .sa_handler = handle, .sa_flags = restarts ? SA_RESTART : 0 };
		CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
		waiting = handled = 0;
		pthread_t thread = begin(interrupted, (void *)restarts);
		for (int i = 0; i < 2; i++) {
			asleep(&waiting);
			usleep(20000);
			OK(pthread_kill(thread, SIGUSR1));
			while (handled <= i)
				usleep(500);
			while (restarts && syscall(WAKE, &words[i * 2], 1, 1, SMALL | flags) == 0)
				usleep(500);
			usleep(10000);
		}
		ended(thread);
	}
	say("handled\n");
}
int main(void)
{
	if (syscall(WAKE, words, 1, 1, SMALL) != 0)
		return 0;
	for (int i = 0; i < 2; i++) {
		flags = i ? FUTEX_PRIVATE_FLAG : 0;
		fill();
		refused();
		signals();
	}
	say("ok thread_futextwo\n");
	return 0;
}
