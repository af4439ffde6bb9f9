/* Timers that begin threads, and timers that signal one thread of several. */
#include "threads.h"
#include <semaphore.h>
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
static sem_t ticked;
static atomic_int ticks, elsewhere, stop;
static atomic_int target, taken, handled;
static void tick(union sigval value)
{
	if (gettid() == getpid() || value.sival_int != 77)
		elsewhere++;
	ticks++;
	sem_post(&ticked);
}
static void on(int signal)
{
	if (gettid() == target)
		handled++;
	else
		elsewhere++;
}
static void *catches(void *unused)
{
	target = gettid();
	while (!stop)
		pause();
	return unused;
}
static void *takes(void *unused)
{
	siginfo_t info;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
	target = gettid();
	for (int i = 0; i < 3; i++) {
		CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 1);
		CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 5);
		taken++;
	}
	return unused;
}
static timer_t every(struct sigevent *event, int milliseconds, int once)
{
	timer_t timer;
	struct itimerspec at = { .it_value = { 0, milliseconds * 1000000l } };
	if (!once)
		at.it_interval = at.it_value;
	CHECK(timer_create(CLOCK_MONOTONIC, event, &timer) == 0);
	CHECK(timer_settime(timer, 0, &at, NULL) == 0);
	return timer;
}
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	CHECK(sem_init(&ticked, 0, 0) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0);
	struct sigevent threads = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick,
				    .sigev_value = { .sival_int = 77 } };
	timer_t timer = every(&threads, 5, 1);
	CHECK(sem_wait(&ticked) == 0 && timer_delete(timer) == 0);
	say("ticked once: %d\n", ticks);
	timer = every(&threads, 5, 0);
	for (int i = 0; i < 3; i++)
		CHECK(sem_wait(&ticked) == 0);
	CHECK(timer_delete(timer) == 0 && elsewhere == 0);
	say("ticked often\n");
	pthread_t other = begin(catches, NULL);
	await(&target);
	struct sigevent one = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	one.sigev_notify_thread_id = target;
	timer = every(&one, 5, 0);
	while (handled < 3)
		usleep(1000);
	stop = 1;
	/* The timer's next signal ends its pause. */
	ended(other);
	CHECK(timer_delete(timer) == 0 && elsewhere == 0);
	say("signalled the other thread\n");
	target = 0;
	other = begin(takes, NULL);
	await(&target);
	one = (struct sigevent){ .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1,
				 .sigev_value = { .sival_int = 5 } };
	one.sigev_notify_thread_id = target;
	timer = every(&one, 5, 0);
	ended(other);
	CHECK(timer_delete(timer) == 0);
	say("taken by the other thread: %d\n", taken);
	one.sigev_notify_thread_id = 1;
	FAILS(timer_create(CLOCK_MONOTONIC, &one, &timer), EINVAL);
	return 0;
}
