/* Cancelling: a thread that waits in read, pause, a condition or a join, one
 * that calls and one that computes; handlers run last first, and a thread that
 * has it disabled goes on until it allows it. */
#include "threads.h"
#include <semaphore.h>
static int ends[2];
static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static sem_t asked;
static atomic_int ready, survived;
static char trace[16];
static void notes(void *letter) { strcat(trace, letter); }
static void unlocks(void *unused) { OK(pthread_mutex_unlock(&lock)); }
static void *reads(void *unused)
{
	char byte;
	pthread_cleanup_push(notes, "a");
	pthread_cleanup_push(notes, "b");
	ready = gettid();
	read(ends[0], &byte, 1);
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return unused;
}
static void *pauses(void *unused)
{
	ready = gettid();
	pause();
	return unused;
}
static void *waits(void *unused)
{
	OK(pthread_mutex_lock(&lock));
	pthread_cleanup_push(unlocks, NULL);
	ready = gettid();
	while (1)
		pthread_cond_wait(&never, &lock);
	pthread_cleanup_pop(0);
	return unused;
}
static void *joins(void *other)
{
	ready = gettid();
	pthread_join((pthread_t)other, NULL);
	return NULL;
}
static void *calls(void *unused)
{
	OK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
	for (ready = gettid();;)
		getppid();
	return unused;
}
static void *tests(void *unused)
{
	for (ready = gettid();; pthread_testcancel())
		getppid();
	return unused;
}
static void *refuses(void *unused)
{
	int old;
	OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
	CHECK(old == PTHREAD_CANCEL_ENABLE);
	ready = gettid();
	CHECK(sem_wait(&asked) == 0);
	pthread_testcancel();
	write(ends[1], "x", 1);
	survived++;
	OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL));
	pthread_testcancel();
	survived++;
	return unused;
}
static void *leaves(void *unused)
{
	pthread_cleanup_push(notes, "c");
	pthread_cleanup_push(notes, "d");
	pthread_cleanup_pop(1);
	pthread_exit("left");
	pthread_cleanup_pop(0);
	return unused;
}
static void cancels(const char *what, void *(*run)(void *), void *with, int wait)
{
	ready = 0;
	pthread_t thread = begin(run, with);
	if (wait)
		asleep(&ready);
	OK(pthread_cancel(thread));
	if (run == refuses)
		sem_post(&asked);
	CHECK(ended(thread) == PTHREAD_CANCELED);
	say("cancelled: %s\n", what);
}
int main(void)
{
	CHECK(pipe(ends) == 0 && sem_init(&asked, 0, 0) == 0);
	cancels("reads", reads, NULL, 1);
	CHECK(strcmp(trace, "ba") == 0);
	cancels("pauses", pauses, NULL, 1);
	cancels("pauses, maybe not yet", pauses, NULL, 0);
	cancels("waits", waits, NULL, 1);
	GIVES(pthread_mutex_trylock(&lock), 0);
	pthread_t other = begin(pauses, NULL);
	cancels("joins", joins, (void *)other, 1);
	OK(pthread_cancel(other));
	CHECK(ended(other) == PTHREAD_CANCELED);
	ready = 0;
	cancels("tests", tests, NULL, 0);
	for (int i = 0; i < 20; i++) {
		ready = 0;
		pthread_t thread = begin(calls, NULL);
		await(&ready);
		OK(pthread_cancel(thread));
		CHECK(ended(thread) == PTHREAD_CANCELED);
	}
	say("cancelled: calls\n");
	ready = 0;
	pthread_t refusing = begin(refuses, NULL);
	await(&ready);
	OK(pthread_cancel(refusing));
	CHECK(sem_post(&asked) == 0);
	CHECK(ended(refusing) == PTHREAD_CANCELED && survived == 1);
	trace[0] = 0;
	CHECK(strcmp(ended(begin(leaves, NULL)), "left") == 0 && strcmp(trace, "dc") == 0);
	say("ok thread_cancel\n");
	return 0;
}
