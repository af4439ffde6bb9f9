/* Asks for ten thousand threads; goes on with as many as there are. */
#include "threads.h"
static void *waits(void *unused)
{
	for (;;)
		pause();
	return unused;
}
int main(void)
{
	pthread_attr_t small;
	pthread_t thread;
	int count = 0, refused = 0;
	OK(pthread_attr_init(&small));
	OK(pthread_attr_setstacksize(&small, 1 << 16));
	for (; count < 10000 && refused == 0; count++)
		refused = pthread_create(&thread, &small, waits, NULL);
	CHECK(refused == 0 || refused == EAGAIN);
	CHECK(count > 500);
	say("ok thread_crowd\n");
	return 0;
}
