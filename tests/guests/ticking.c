/* Timers of every kind, one after the other; prints what came of each. */
#include "guest.h"
#include <sys/time.h>
#include <sys/timerfd.h>
static volatile int rings;
static void on(int signal)
{
	rings++;
	(void)signal;
}
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
	struct timespec begin, end;
	CHECK(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
	struct itimerval every = { { 0, 3000 }, { 0, 3000 } }, off = { { 0, 0 }, { 0, 0 } };
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	while (rings < 10)
		pause();
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	say("interval timer\n");
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec fast = { { 0, 3000000 }, { 0, 3000000 } };
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	rings = 0;
	CHECK(timer_settime(timer, 0, &fast, NULL) == 0);
	while (rings < 10)
		pause();
	CHECK(timer_delete(timer) == 0);
	say("timer\n");
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	CHECK(fd >= 0 && timerfd_settime(fd, 0, &fast, NULL) == 0);
	uint64_t ticks = 0, all = 0;
	while (all < 10) {
		read_all(fd, &ticks, sizeof ticks);
		CHECK(ticks > 0);
		all += ticks;
	}
	close(fd);
	say("descriptor\n");
	/* Longer than all that is done to it takes: the rest of a sleep is slept. */
	struct timespec nap = { 0, 60000000 }, rest, before, after;
	CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
	rings = 0;
	every = (struct itimerval){ { 0, 0 }, { 0, 20000 } };
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	while (nanosleep(&nap, &rest) != 0) {
		CHECK(errno == EINTR);
		nap = rest;
	}
	CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0 && rings == 1);
	int64_t slept = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
	CHECK(slept >= 60000000);
	say("slept\n");
	alarm(1);
	pause();
	say("alarm %d\n", rings);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
	CHECK(end.tv_sec > begin.tv_sec);
	return 0;
}
