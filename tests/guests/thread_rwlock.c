/* Locks of readers and writers: readers see whole changes only, some of them at
 * once; what is held is busy to try and times out. */
#include "threads.h"
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t both;
static long pair[2];
static void *writes(void *number)
{
	for (int i = 0; i < 1000; i++) {
		OK(pthread_rwlock_wrlock(&lock));
		pair[0] += (long)number + 1;
		if (i % 100 == 0)
			sched_yield();
		pair[1] -= (long)number + 1;
		OK(pthread_rwlock_unlock(&lock));
	}
	return number;
}
static void *reads(void *number)
{
	for (int i = 0; i < 2000; i++) {
		OK(pthread_rwlock_rdlock(&lock));
		CHECK(pair[0] + pair[1] == 0);
		OK(pthread_rwlock_unlock(&lock));
	}
	return number;
}
static void *mixes(void *number)
{
	return (long)number % 3 ? reads(number) : writes(number);
}
static void *reads_together(void *number)
{
	OK(pthread_rwlock_rdlock(&lock));
	pthread_barrier_wait(&both);
	GIVES(pthread_rwlock_trywrlock(&lock), EBUSY);
	OK(pthread_rwlock_tryrdlock(&lock));
	OK(pthread_rwlock_unlock(&lock));
	pthread_barrier_wait(&both);
	OK(pthread_rwlock_unlock(&lock));
	return number;
}
static void *tries(void *writing)
{
	struct timespec soon = from_now(CLOCK_REALTIME, 20), past = { 1, 0 };
	struct timespec steady = from_now(CLOCK_MONOTONIC, 20);
	GIVES(pthread_rwlock_trywrlock(&lock), EBUSY);
	GIVES(pthread_rwlock_timedwrlock(&lock, &soon), ETIMEDOUT);
	GIVES(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
	int busy = writing ? EBUSY : 0, late = writing ? ETIMEDOUT : 0;
	GIVES(pthread_rwlock_tryrdlock(&lock), busy);
	GIVES(pthread_rwlock_timedrdlock(&lock, &past), late);
	for (int i = 0; i < 2 && !writing; i++)
		OK(pthread_rwlock_unlock(&lock));
	return writing;
}
int main(void)
{
	all(6, mixes);
	say("pair %ld %ld\n", pair[0], pair[1]);
	OK(pthread_barrier_init(&both, NULL, 3));
	all(3, reads_together);
	OK(pthread_rwlock_rdlock(&lock));
	ended(begin(tries, NULL));
	OK(pthread_rwlock_unlock(&lock));
	OK(pthread_rwlock_wrlock(&lock));
	GIVES(pthread_rwlock_rdlock(&lock), EDEADLK);
	ended(begin(tries, &lock));
	OK(pthread_rwlock_unlock(&lock));
	OK(pthread_rwlock_destroy(&lock));
	say("ok thread_rwlock\n");
	return 0;
}
