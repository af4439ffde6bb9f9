/* Three hundred threads at once: all wait at a barrier, then go on together. */
#include "threads.h"
enum { THREADS = 300 };
static pthread_barrier_t barrier;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long here, total;
static void *comes(void *number)
{
	OK(pthread_mutex_lock(&lock));
	here++;
	OK(pthread_mutex_unlock(&lock));
	pthread_barrier_wait(&barrier);
	CHECK(here == THREADS);
	OK(pthread_mutex_lock(&lock));
	total += (long)number;
	OK(pthread_mutex_unlock(&lock));
	return number;
}
int main(void)
{
	pthread_t threads[THREADS];
	pthread_attr_t attr;
	OK(pthread_attr_init(&attr));
	OK(pthread_attr_setstacksize(&attr, 64 << 10));
	OK(pthread_barrier_init(&barrier, NULL, THREADS + 1));
	for (long i = 0; i < THREADS; i++)
		OK(pthread_create(&threads[i], &attr, comes, (void *)i));
	pthread_barrier_wait(&barrier);
	for (long i = 0; i < THREADS; i++)
		CHECK(ended(threads[i]) == (void *)i);
	say("here %ld, total %ld\n", here, total);
	return 0;
}
