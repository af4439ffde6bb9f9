/* Four threads count under a lock. Refused with more than one replica. */
#include "guest.h"
#include <pthread.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total;
static void *count(void *step)
{
	for (int i = 0; i < 10000; i++) {
		pthread_mutex_lock(&lock);
		total += (long)step;
		pthread_mutex_unlock(&lock);
		if (i % 1000 == 0)
			voted("x", 1);
	}
	return step;
}
int main(void)
{
	pthread_t threads[4];
	for (long i = 0; i < 4; i++) {
		int code = pthread_create(&threads[i], NULL, count, (void *)(i + 1));
		if (code) {
			say("no thread: %s\n", strerror(code));
			return 17;
		}
	}
	for (long i = 0; i < 4; i++) {
		void *result;
		CHECK(pthread_join(threads[i], &result) == 0 && (long)result == i + 1);
	}
	say("total %ld\n", total);
	return 0;
}
