/* Semaphores without a name: a ring of threads that hand on a turn, a number of
 * places that is never passed, waits that fail and time out. */
#include "threads.h"
#include <semaphore.h>
enum { RING = 5, ROUNDS = 200 };
static sem_t turns[RING], places;
static uint64_t order;
static atomic_int inside, most;
static void *hands_on(void *number)
{
	long me = (long)number;
	for (int round = 0; round < ROUNDS; round++) {
		CHECK(sem_wait(&turns[me]) == 0);
		order = sum(order, &me, sizeof me);
		CHECK(sem_post(&turns[(me + 1) % RING]) == 0);
	}
	return number;
}
static void *enters(void *number)
{
	for (int i = 0; i < 500; i++) {
		CHECK(sem_wait(&places) == 0);
		int now = ++inside, seen = most;
		while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
			;
		if (i % 50 == 0)
			sched_yield();
		inside--;
		CHECK(sem_post(&places) == 0);
	}
	return number;
}
static void *posts(void *to)
{
	for (int i = 0; i < 1000; i++)
		CHECK(sem_post(to) == 0);
	return to;
}
int main(void)
{
	int value;
	struct timespec soon, past = { 1, 0 }, bad = { 1, -1 };
	for (int i = 0; i < RING; i++)
		CHECK(sem_init(&turns[i], 0, i == 0) == 0);
	all(RING, hands_on);
	say("order %016lx\n", order);
	CHECK(sem_init(&places, 0, 3) == 0);
	all(8, enters);
	CHECK(most >= 1 && most <= 3 && sem_getvalue(&places, &value) == 0 && value == 3);
	for (int i = 0; i < 3; i++)
		CHECK(sem_trywait(&places) == 0);
	FAILS(sem_trywait(&places), EAGAIN);
	soon = from_now(CLOCK_REALTIME, 20);
	FAILS(sem_timedwait(&places, &soon), ETIMEDOUT);
	FAILS(sem_timedwait(&places, &past), ETIMEDOUT);
	FAILS(sem_timedwait(&places, &bad), EINVAL);
	soon = from_now(CLOCK_MONOTONIC, 20);
	FAILS(sem_clockwait(&places, CLOCK_MONOTONIC, &soon), ETIMEDOUT);
	FAILS(sem_init(&turns[0], 0, (unsigned)-1), EINVAL);
	pthread_t poster = begin(posts, &places);
	soon = from_now(CLOCK_REALTIME, 100000);
	for (int i = 0; i < 1000; i++)
		CHECK((i % 2 ? sem_wait(&places) : sem_timedwait(&places, &soon)) == 0);
	ended(poster);
	CHECK(sem_getvalue(&places, &value) == 0);
	say("left %d\n", value);
	return 0;
}
