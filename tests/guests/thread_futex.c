/* futex as it is: WAIT and WAKE, their BITSET forms, REQUEUE and CMP_REQUEUE,
 * private and shared; how many each says that it woke and moved. */
#include "futexes.h"
enum { WAITERS = 4 };
static word first, second, third;
static atomic_int woken[WAITERS], private, by_bits;
static void *waits(void *number)
{
	long me = (long)number, bits = by_bits ? 1 << me : 0;
	int op = (by_bits ? FUTEX_WAIT_BITSET : FUTEX_WAIT) | private;
	CHECK(futex(&first, op, 0, NULL, NULL, bits) == 0);
	woken[me] = 1;
	return number;
}
static void wakes(pthread_t *threads)
{
	CHECK(futex(&first, FUTEX_WAKE | private, INT_MAX, NULL, NULL, 0) == 0);
	CHECK(futex(&second, FUTEX_WAKE | (private ^ FUTEX_PRIVATE_FLAG), 1, NULL, NULL, 0) == 0);
	say("woken %ld ", futex(&second, FUTEX_WAKE | private, 1, NULL, NULL, 0));
	/* 0 counts as 1. */
	say("%ld ", futex(&second, FUTEX_WAKE | private, 0, NULL, NULL, 0));
	say("%ld\n", futex(&second, FUTEX_WAKE | private, INT_MAX, NULL, NULL, 0));
	for (int i = 0; i < WAITERS; i++)
		ended(threads[i]);
}
static void requeues(pthread_t *threads)
{
	int op = FUTEX_CMP_REQUEUE | private;
	FAILS(futex(&second, op, 1, (void *)10, &third, 7), EAGAIN);
	say("woken and moved %ld ", futex(&second, op, 1, (void *)2, &third, 0));
	say("%ld ", futex(&second, op, 0, (void *)10, &third, 0));
	say("%ld ", futex(&second, op, 5, (void *)10, &third, 0));
	say("%ld\n", futex(&third, FUTEX_WAKE | private, 10, NULL, NULL, 0));
	for (int i = 0; i < WAITERS; i++)
		ended(threads[i]);
}
static void wakes_by_bits(pthread_t *threads)
{
	int op = FUTEX_WAKE_BITSET | private;
	FAILS(futex(&second, op, 1, NULL, NULL, 0), EINVAL);
	say("woken %ld ", futex(&second, op, 10, NULL, NULL, 1 << WAITERS));
	say("%ld ", futex(&second, op, 10, NULL, NULL, 1 << 2));
	ended(threads[2]);
	CHECK(!woken[0] && !woken[1] && !woken[3]);
	say("%ld ", futex(&second, op, 10, NULL, NULL, 1 << 0 | 1 << 3));
	ended(threads[0]);
	ended(threads[3]);
	CHECK(!woken[1]);
	say("%ld\n", futex(&second, FUTEX_WAKE | private, 10, NULL, NULL, 0));
	ended(threads[1]);
}
static void with(void (*what)(pthread_t *), int bits)
{
	pthread_t threads[WAITERS];
	by_bits = bits;
	for (long i = 0; i < WAITERS; i++) {
		woken[i] = 0;
		threads[i] = begin(waits, (void *)i);
	}
	move(&first, &second, WAITERS, private);
	what(threads);
	for (int i = 0; i < WAITERS; i++)
		CHECK(woken[i]);
}
int main(void)
{
	for (private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
		with(wakes, 0);
		with(requeues, 0);
		with(requeues, 1);
		with(wakes_by_bits, 1);
	}
	return 0;
}
