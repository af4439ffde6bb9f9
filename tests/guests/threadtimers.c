/* A thread that computes is the one that the process's timer of CPU time
 * interrupts, whoever has set it. */
#include "guest.h"
#include <pthread.h>
#include <sys/time.h>
static volatile sig_atomic_t here, elsewhere;
static pid_t computing;
static void on(int signal)
{
	if (gettid() == computing)
		here++;
	else
		elsewhere++;
}
static void *compute(void *unused)
{
	struct itimerval every = { { 0, 10000 }, { 0, 10000 } }, off = { { 0, 0 }, { 0, 0 } };
	computing = gettid();
	CHECK(setitimer(ITIMER_PROF, &every, NULL) == 0);
	while (here < 10)
		for (volatile int i = 0; i < 1000000; i++)
			;
	CHECK(setitimer(ITIMER_PROF, &off, NULL) == 0);
	return unused;
}
int main(void)
{
	pthread_t thread;
	signal(SIGPROF, on);
	CHECK(pthread_create(&thread, NULL, compute, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	say("in the thread that computes: %d\n", here > 5 * elsewhere);
	return 0;
}
