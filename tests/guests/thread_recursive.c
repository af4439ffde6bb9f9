/* Recursive mutexes count, those that check errors tell them: EDEADLK to their
 * owner, EPERM to all others. */
#include "threads.h"
static pthread_mutex_t deep = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t strict = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static long total, level;
static void descend(int depth)
{
	OK(pthread_mutex_lock(&deep));
	CHECK(level++ >= 0);
	total++;
	if (depth > 0)
		descend(depth - 1);
	level--;
	OK(pthread_mutex_unlock(&deep));
}
static void *descends(void *number)
{
	for (int i = 0; i < 1000; i++) {
		descend(i % 8);
		OK(pthread_mutex_lock(&deep));
		CHECK(level == 0);
		OK(pthread_mutex_unlock(&deep));
	}
	return number;
}
static void *checks(void *number)
{
	for (int i = 0; i < 2000; i++) {
		OK(pthread_mutex_lock(&strict));
		GIVES(pthread_mutex_lock(&strict), EDEADLK);
		total++;
		OK(pthread_mutex_unlock(&strict));
	}
	return number;
}
static void *others(void *unused)
{
	struct timespec soon = from_now(CLOCK_REALTIME, 10);
	GIVES(pthread_mutex_unlock(&deep), EPERM);
	GIVES(pthread_mutex_trylock(&deep), EBUSY);
	GIVES(pthread_mutex_timedlock(&deep, &soon), ETIMEDOUT);
	GIVES(pthread_mutex_unlock(&strict), EPERM);
	GIVES(pthread_mutex_trylock(&strict), EBUSY);
	return unused;
}
int main(void)
{
	struct timespec soon = from_now(CLOCK_REALTIME, 10);
	all(4, descends);
	say("descended %ld\n", total);
	total = 0;
	all(4, checks);
	say("checked %ld\n", total);
	OK(pthread_mutex_lock(&deep));
	OK(pthread_mutex_trylock(&deep));
	OK(pthread_mutex_timedlock(&deep, &soon));
	OK(pthread_mutex_lock(&strict));
	GIVES(pthread_mutex_trylock(&strict), EBUSY);
	GIVES(pthread_mutex_timedlock(&strict, &soon), EDEADLK);
	GIVES(pthread_mutex_destroy(&strict), EBUSY);
	ended(begin(others, NULL));
	for (int i = 0; i < 3; i++)
		OK(pthread_mutex_unlock(&deep));
	GIVES(pthread_mutex_unlock(&deep), EPERM);
	OK(pthread_mutex_unlock(&strict));
	GIVES(pthread_mutex_unlock(&strict), EPERM);
	say("ok thread_recursive\n");
	return 0;
}
