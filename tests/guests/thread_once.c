/* pthread_once: whoever comes first does it, the others wait until it is done;
 * done anew after the one who did it was cancelled. */
#include "threads.h"
#include <semaphore.h>
static pthread_once_t onces[100], interrupted = PTHREAD_ONCE_INIT;
static pthread_barrier_t start;
static _Thread_local int which;
static long done[100];
static atomic_long total;
static atomic_int attempts;
static sem_t never;
static void work(void)
{
	sched_yield();
	done[which] += which + 1;
}
static void *comes(void *number)
{
	for (which = 0; which < 100; which++) {
		pthread_barrier_wait(&start);
		OK(pthread_once(&onces[which], work));
		total += done[which];
	}
	return number;
}
static void waits_at_first(void)
{
	if (++attempts == 1)
		sem_wait(&never);
}
static void *tries(void *number)
{
	OK(pthread_once(&interrupted, waits_at_first));
	return number;
}
int main(void)
{
	OK(pthread_barrier_init(&start, NULL, 5));
	CHECK(sem_init(&never, 0, 0) == 0);
	all(5, comes);
	say("total %ld\n", total);
	pthread_t first = begin(tries, NULL);
	await(&attempts);
	pthread_t second = begin(tries, NULL);
	OK(pthread_cancel(first));
	CHECK(ended(first) == PTHREAD_CANCELED && ended(second) == NULL);
	say("attempts %d\n", attempts);
	return 0;
}
