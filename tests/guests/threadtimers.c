/* A thread that computes is the one that the process's timer of CPU time
 * interrupts, whoever has set it and (with an argument) though the first thread
 * has ended. */
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
static void done(void)
{
	say("in the thread that computes: %d\n", here > 5 * elsewhere);
	exit(0);
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
	done();
	return unused;
}
int main(int argc, char **argv)
{
	pthread_t thread;
	signal(SIGPROF, on);
	CHECK(pthread_create(&thread, NULL, compute, NULL) == 0);
	if (argc > 1)
		pthread_exit(NULL);
	CHECK(pthread_join(thread, NULL) == 0);
	return 0;
}
