/* Condition variables: a bounded queue between makers and takers, a broadcast
 * that all hear, signals that each wake one at least, waits that time out. */
#include "threads.h"
enum { EACH = 2000, ROOM = 8 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static long queue[ROOM], put, taken, made, got, generation, tokens, waiters;
static void *moves(void *number)
{
	long makes = (long)number % 2;
	for (int i = 0; i < EACH; i++) {
		OK(pthread_mutex_lock(&lock));
		if (makes) {
			while (put - taken == ROOM)
				OK(pthread_cond_wait(&emptied, &lock));
			made += queue[put++ % ROOM] = (long)number * EACH + i;
			OK(pthread_cond_signal(&filled));
		} else {
			while (put == taken)
				OK(pthread_cond_wait(&filled, &lock));
			got += queue[taken++ % ROOM];
			OK(pthread_cond_signal(&emptied));
		}
		OK(pthread_mutex_unlock(&lock));
	}
	return number;
}
static void *hears(void *number)
{
	OK(pthread_mutex_lock(&lock));
	for (int i = 1; i <= 50; i++) {
		waiters++;
		OK(pthread_cond_signal(&filled));
		while (generation < i)
			OK(pthread_cond_wait(&turn, &lock));
	}
	while (tokens == 0)
		OK(pthread_cond_wait(&turn, &lock));
	tokens--;
	OK(pthread_mutex_unlock(&lock));
	return number;
}
static void times_out(clockid_t clock)
{
	pthread_cond_t never;
	pthread_condattr_t attr;
	struct timespec at = from_now(clock, 20), past = { 1, 0 };
	OK(pthread_condattr_init(&attr));
	OK(pthread_condattr_setclock(&attr, clock));
	OK(pthread_cond_init(&never, &attr));
	int code;
	while ((code = pthread_cond_timedwait(&never, &lock, &at)) == 0)
		;
	GIVES(code, ETIMEDOUT);
	struct timespec now = from_now(clock, 0);
	CHECK(now.tv_sec > at.tv_sec || (now.tv_sec == at.tv_sec && now.tv_nsec >= at.tv_nsec));
	GIVES(pthread_cond_timedwait(&never, &lock, &past), ETIMEDOUT);
	at = from_now(clock, 5);
	GIVES(pthread_cond_clockwait(&never, &lock, clock, &at), ETIMEDOUT);
	OK(pthread_cond_destroy(&never));
}
int main(void)
{
	pthread_t threads[6];
	all(6, moves);
	say("moved %ld, made %ld, got %ld\n", taken, made, got);
	for (long i = 0; i < 6; i++)
		threads[i] = begin(hears, (void *)i);
	OK(pthread_mutex_lock(&lock));
	for (int i = 1; i <= 50; i++) {
		while (waiters < 6 * i)
			OK(pthread_cond_wait(&filled, &lock));
		generation = i;
		OK(pthread_cond_broadcast(&turn));
	}
	times_out(CLOCK_REALTIME);
	times_out(CLOCK_MONOTONIC);
	for (int i = 0; i < 6; i++) {
		tokens++;
		OK(pthread_cond_signal(&turn));
	}
	OK(pthread_mutex_unlock(&lock));
	for (int i = 0; i < 6; i++)
		ended(threads[i]);
	say("heard %ld times, %ld tokens left\n", waiters, tokens);
	return 0;
}
