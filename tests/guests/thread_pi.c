/* Mutexes that inherit priority: their waits are the kernel's locks. Contended,
 * recursive, checking errors, timed, and robust when the owner dies. */
#include "threads.h"
static pthread_mutex_t lock;
static long total, inside;
static atomic_int held, waiting, let_go;
static void make(int type, int robust)
{
	pthread_mutexattr_t attr;
	OK(pthread_mutexattr_init(&attr));
	OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
	OK(pthread_mutexattr_settype(&attr, type));
	OK(pthread_mutexattr_setrobust(&attr, robust));
	OK(pthread_mutex_init(&lock, &attr));
}
static void *adds(void *number)
{
	for (int i = 0; i < 2000; i++) {
		OK(pthread_mutex_lock(&lock));
		CHECK(++inside == 1);
		total += (long)number + 1;
		if (i % 100 == 0)
			sched_yield();
		CHECK(--inside == 0);
		OK(pthread_mutex_unlock(&lock));
	}
	return number;
}
static void *descends(void *number)
{
	for (int i = 0; i < 500; i++) {
		for (int depth = 0; depth < 4; depth++)
			OK(pthread_mutex_lock(&lock));
		total++;
		for (int depth = 0; depth < 4; depth++)
			OK(pthread_mutex_unlock(&lock));
	}
	return number;
}
static void *others(void *unused)
{
	struct timespec real = from_now(CLOCK_REALTIME, 20), past = { 1, 0 };
	GIVES(pthread_mutex_trylock(&lock), EBUSY);
	GIVES(pthread_mutex_timedlock(&lock, &real), ETIMEDOUT);
	GIVES(pthread_mutex_timedlock(&lock, &past), ETIMEDOUT);
	GIVES(pthread_mutex_unlock(&lock), EPERM);
	return unused;
}
static void *dies(void *waits)
{
	OK(pthread_mutex_lock(&lock));
	held = 1;
	if (waits)
		await(&let_go);
	return NULL;
}
static void *inherits(void *unused)
{
	waiting = gettid();
	GIVES(pthread_mutex_lock(&lock), EOWNERDEAD);
	OK(pthread_mutex_consistent(&lock));
	OK(pthread_mutex_unlock(&lock));
	return unused;
}
int main(void)
{
	make(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED);
	all(4, adds);
	say("total %ld\n", total);
	make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
	total = 0;
	all(4, descends);
	say("descended %ld\n", total);
	make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED);
	OK(pthread_mutex_lock(&lock));
	GIVES(pthread_mutex_lock(&lock), EDEADLK);
	ended(begin(others, NULL));
	OK(pthread_mutex_unlock(&lock));
	say("errors told\n");
	make(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
	ended(begin(dies, NULL));
	inherits(NULL);
	held = waiting = 0;
	pthread_t owner = begin(dies, &let_go);
	await(&held);
	pthread_t heir = begin(inherits, NULL);
	asleep(&waiting);
	let_go = 1;
	ended(owner);
	ended(heir);
	ended(begin(dies, NULL));
	GIVES(pthread_mutex_lock(&lock), EOWNERDEAD);
	OK(pthread_mutex_unlock(&lock));
	GIVES(pthread_mutex_lock(&lock), ENOTRECOVERABLE);
	say("the dead inherited from\n");
	return 0;
}
