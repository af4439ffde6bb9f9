/* A thread ends with robust mutexes locked: the next owner hears of it, whether
 * it waited already or not, and makes the mutex consistent, or nobody ever gets
 * it again. */
#include "threads.h"
static pthread_mutex_t locks[3];
static atomic_int held, waiting, let_go;
static void *dies(void *to)
{
	for (int i = 0; i < 3; i++)
		OK(pthread_mutex_lock(&locks[i]));
	held = 1;
	if (to)
		await(&let_go);
	return NULL;
}
static void *inherits(void *unused)
{
	waiting = gettid();
	GIVES(pthread_mutex_lock(&locks[0]), EOWNERDEAD);
	OK(pthread_mutex_consistent(&locks[0]));
	OK(pthread_mutex_unlock(&locks[0]));
	return unused;
}
int main(void)
{
	struct timespec soon;
	pthread_mutexattr_t attr;
	OK(pthread_mutexattr_init(&attr));
	OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	for (int i = 0; i < 3; i++)
		OK(pthread_mutex_init(&locks[i], &attr));
	for (int round = 0; round < 10; round++) {
		ended(begin(dies, NULL));
		GIVES(pthread_mutex_lock(&locks[0]), EOWNERDEAD);
		GIVES(pthread_mutex_trylock(&locks[1]), EOWNERDEAD);
		soon = from_now(CLOCK_REALTIME, 10);
		GIVES(pthread_mutex_timedlock(&locks[2], &soon), EOWNERDEAD);
		for (int i = 0; i < 3; i++) {
			OK(pthread_mutex_consistent(&locks[i]));
			OK(pthread_mutex_unlock(&locks[i]));
			GIVES(pthread_mutex_consistent(&locks[i]), EINVAL);
		}
	}
	say("none waited\n");
	for (int round = 0; round < 10; round++) {
		held = waiting = let_go = 0;
		pthread_t owner = begin(dies, &let_go);
		await(&held);
		pthread_t heir = begin(inherits, NULL);
		asleep(&waiting);
		GIVES(pthread_mutex_trylock(&locks[1]), EBUSY);
		let_go = 1;
		ended(owner);
		ended(heir);
		for (int i = 1; i < 3; i++) {
			GIVES(pthread_mutex_lock(&locks[i]), EOWNERDEAD);
			OK(pthread_mutex_consistent(&locks[i]));
			OK(pthread_mutex_unlock(&locks[i]));
		}
	}
	say("one waited\n");
	ended(begin(dies, NULL));
	for (int i = 0; i < 3; i++) {
		GIVES(pthread_mutex_lock(&locks[i]), EOWNERDEAD);
		OK(pthread_mutex_unlock(&locks[i]));
		GIVES(pthread_mutex_lock(&locks[i]), ENOTRECOVERABLE);
		GIVES(pthread_mutex_trylock(&locks[i]), ENOTRECOVERABLE);
		OK(pthread_mutex_destroy(&locks[i]));
	}
	say("not recoverable\n");
	return 0;
}
