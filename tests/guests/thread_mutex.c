/* A mutex keeps its promise under contention, also while its owner calls; held
 * by another it is busy to try, and timed out. */
#include "threads.h"
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total, inside, tried;
static void *adds(void *number)
{
	for (int i = 0; i < 20000; i++) {
		OK(pthread_mutex_lock(&lock));
		CHECK(++inside == 1);
		total += (long)number + 1;
		if (i % 500 == 0)
			voted("x", 1);
		CHECK(--inside == 0);
		OK(pthread_mutex_unlock(&lock));
	}
	return number;
}
static void *tries(void *number)
{
	for (int got = 0; got < 1000;) {
		int code = pthread_mutex_trylock(&lock);
		if (code == EBUSY) {
			sched_yield();
			continue;
		}
		OK(code);
		got++;
		tried++;
		OK(pthread_mutex_unlock(&lock));
	}
	return number;
}
static void *waits(void *unused)
{
	struct timespec real = from_now(CLOCK_REALTIME, 20), past = { 1, 0 }, bad = { 1, 1000000000 };
	struct timespec steady = from_now(CLOCK_MONOTONIC, 20);
	GIVES(pthread_mutex_trylock(&lock), EBUSY);
	GIVES(pthread_mutex_timedlock(&lock, &real), ETIMEDOUT);
	GIVES(pthread_mutex_timedlock(&lock, &past), ETIMEDOUT);
	GIVES(pthread_mutex_timedlock(&lock, &bad), EINVAL);
	GIVES(pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
	CHECK(from_now(CLOCK_MONOTONIC, 0).tv_sec >= steady.tv_sec);
	return unused;
}
static void *waits_long(void *at)
{
	struct timespec far = from_now(CLOCK_REALTIME, 100000);
	*(atomic_int *)at = gettid();
	OK(pthread_mutex_timedlock(&lock, &far));
	total++;
	OK(pthread_mutex_unlock(&lock));
	return at;
}
int main(void)
{
	atomic_int waiter = 0;
	all(4, adds);
	say("total %ld\n", total);
	all(3, tries);
	say("tried %ld\n", tried);
	OK(pthread_mutex_lock(&lock));
	ended(begin(waits, NULL));
	pthread_t thread = begin(waits_long, &waiter);
	asleep(&waiter);
	total = 0;
	OK(pthread_mutex_unlock(&lock));
	ended(thread);
	say("after the wait %ld\n", total);
	return 0;
}
