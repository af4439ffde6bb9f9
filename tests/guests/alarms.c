/* alarm, setitimer, POSIX timers and interrupted sleeps. */
#include "guest.h"
#include <sys/time.h>
static volatile int rings, value;
static void on(int signal, siginfo_t *info, void *context)
{
	rings++;
	if (signal == SIGRTMIN)
		value = info->si_value.sival_int;
	(void)context;
}
int main(void)
{
	struct sigaction action = { .sa_sigaction = on, .sa_flags = SA_SIGINFO };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0);
	CHECK(sigaction(SIGVTALRM, &action, NULL) == 0 && sigaction(SIGPROF, &action, NULL) == 0);
	CHECK(alarm(100) == 0);
	unsigned left = alarm(1);
	CHECK(left > 0 && left <= 100);
	pause();
	CHECK(rings == 1);
	struct itimerval every = { { 0, 20000 }, { 0, 20000 } }, off = { { 0, 0 }, { 0, 0 } }, was;
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	while (rings < 6)
		pause();
	CHECK(getitimer(ITIMER_REAL, &was) == 0 && was.it_interval.tv_usec == 20000);
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 31 };
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	struct itimerspec soon = { { 0, 0 }, { 0, 30000000 } };
	value = 0;
	sigset_t block, open;
	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN);
	CHECK(sigprocmask(SIG_BLOCK, &block, &open) == 0);
	CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
	while (value != 31)
		sigsuspend(&open);
	CHECK(sigprocmask(SIG_SETMASK, &open, NULL) == 0);
	CHECK(timer_gettime(timer, &soon) == 0 && timer_getoverrun(timer) == 0 && timer_delete(timer) == 0);
	every.it_interval.tv_usec = 0;
	every.it_value.tv_usec = 100000;
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	struct timespec sleep = { 60, 0 }, rest = { 0, 0 };
	FAILS(nanosleep(&sleep, &rest), EINTR);
	CHECK(rest.tv_sec <= 59);
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &sleep, &rest) == EINTR);
	struct timespec instant = { 0, 5000000 };
	CHECK(nanosleep(&instant, NULL) == 0);
	say("ok alarms\n");
	return 0;
}
