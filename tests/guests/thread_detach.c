/* Many threads of a short life that nobody joins: detached by their attributes,
 * by their parent, by themselves. */
#include "threads.h"
enum { THREADS = 200 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long total, over;
static atomic_int let_go;
static void *lives(void *number)
{
	long me = (long)number;
	if (me % 3 == 2)
		OK(pthread_detach(pthread_self()));
	if (me % 10 == 0)
		voted(&me, sizeof me);
	OK(pthread_mutex_lock(&lock));
	total += me * me;
	over++;
	OK(pthread_cond_signal(&changed));
	OK(pthread_mutex_unlock(&lock));
	return NULL;
}
static void *stays(void *unused)
{
	await(&let_go);
	return lives(unused);
}
static void until(long count)
{
	OK(pthread_mutex_lock(&lock));
	while (over < count)
		OK(pthread_cond_wait(&changed, &lock));
	OK(pthread_mutex_unlock(&lock));
}
int main(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	OK(pthread_attr_init(&attr));
	OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
	for (long i = 0; i < THREADS; i++) {
		OK(pthread_create(&thread, i % 3 ? NULL : &attr, lives, (void *)i));
		if (i % 3 == 1)
			OK(pthread_detach(thread));
		if (i % 16 == 0)
			until(i);
	}
	until(THREADS);
	say("total %ld of %ld\n", total, over);
	OK(pthread_create(&thread, &attr, stays, NULL));
	GIVES(pthread_join(thread, NULL), EINVAL);
	GIVES(pthread_detach(thread), EINVAL);
	let_go = 1;
	until(THREADS + 1);
	say("over %ld\n", over);
	return 0;
}
