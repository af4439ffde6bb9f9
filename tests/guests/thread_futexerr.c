/* What futex refuses, and its timeouts: relative and absolute, of both clocks. */
#include "futexes.h"
#include <sys/mman.h>
static word at;
static void times_out(int op, struct timespec when)
{
	FAILS(futex(&at, op, 0, &when, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
}
static void all_of(int private)
{
	char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	word *odd = (word *)((char *)&at + 1), *gone = (word *)none;
	struct timespec zero = { 0, 0 }, bad = { 0, 1000000000 }, minus = { -1, 0 };
	int wait = FUTEX_WAIT | private, wake = FUTEX_WAKE | private;
	int bits = FUTEX_WAIT_BITSET | private, requeue = FUTEX_CMP_REQUEUE | private;
	FAILS(futex(&at, wait, 1, NULL, NULL, 0), EAGAIN);
	FAILS(futex(&at, wait, 1, &zero, NULL, 0), EAGAIN);
	FAILS(futex(&at, bits, 1, NULL, NULL, FUTEX_BITSET_MATCH_ANY), EAGAIN);
	FAILS(futex(&at, bits, 0, NULL, NULL, 0), EINVAL);
	FAILS(futex(odd, wait, 0, NULL, NULL, 0), EINVAL);
	FAILS(futex(odd, wake, 1, NULL, NULL, 0), EINVAL);
	FAILS(futex(gone, wait, 0, NULL, NULL, 0), EFAULT);
	FAILS(futex((word *)(-4096l), wait, 0, NULL, NULL, 0), EFAULT);
	FAILS(futex((word *)(-4096l), wake, 1, NULL, NULL, 0), EFAULT);
	/* A private word is not looked at to wake. */
	if (private)
		CHECK(futex(gone, wake, 1, NULL, NULL, 0) == 0);
	else
		FAILS(futex(gone, wake, 1, NULL, NULL, 0), EFAULT);
	FAILS(futex(&at, wait, 0, &bad, NULL, 0), EINVAL);
	FAILS(futex(&at, wait, 0, &minus, NULL, 0), EINVAL);
	FAILS(futex(&at, wait, 0, (void *)none, NULL, 0), EFAULT);
	FAILS(futex(&at, requeue, -1, (void *)1, &at, 0), EINVAL);
	FAILS(futex(&at, requeue, 1, (void *)-1l, &at, 0), EINVAL);
	FAILS(futex(&at, requeue, 1, (void *)1, odd, 0), EINVAL);
	FAILS(futex(&at, requeue, 1, (void *)1, &at, 1), EAGAIN);
	CHECK(futex(&at, requeue, 1, (void *)1, &at, 0) == 0);
	FAILS(futex(&at, 99 | private, 0, NULL, NULL, 0), ENOSYS);
	FAILS(futex(&at, FUTEX_FD | private, 0, NULL, NULL, 0), ENOSYS);
	FAILS(futex(&at, wake | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0), ENOSYS);
	times_out(wait, (struct timespec){ 0, 20000000 });
	times_out(wait, zero);
	times_out(bits, from_now(CLOCK_MONOTONIC, 20));
	times_out(bits, zero);
	times_out(bits | FUTEX_CLOCK_REALTIME, from_now(CLOCK_REALTIME, 20));
	times_out(bits | FUTEX_CLOCK_REALTIME, (struct timespec){ 1, 0 });
	struct timespec before = from_now(CLOCK_MONOTONIC, 30);
	times_out(wait, (struct timespec){ 0, 30000000 });
	struct timespec after = from_now(CLOCK_MONOTONIC, 0);
	CHECK(after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
	CHECK(munmap(none, 4096) == 0);
}
static void *from_a_thread(void *unused)
{
	all_of(FUTEX_PRIVATE_FLAG);
	all_of(0);
	return unused;
}
int main(void)
{
	all_of(FUTEX_PRIVATE_FLAG);
	all_of(0);
	ended(begin(from_a_thread, NULL));
	say("ok thread_futexerr\n");
	return 0;
}
