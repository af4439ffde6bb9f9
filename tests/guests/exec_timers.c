/* exec deletes timers of timer_create, and what they have sent: only the alarm
 * of setitimer is kept. */
#include "guest.h"
#include <sys/time.h>
static timer_t after(int ms, int signal)
{
	timer_t timer;
	struct sigevent how = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal };
	struct itimerspec when = { .it_value.tv_nsec = ms * 1000000L };
	CHECK(timer_create(CLOCK_MONOTONIC, &how, &timer) == 0);
	CHECK(timer_settime(timer, 0, &when, NULL) == 0);
	return timer;
}
int main(int argc, char **argv)
{
	struct timespec nap = { .tv_nsec = 300000000L };
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	if (argc == 1) {
		CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
		struct itimerval alarm = { .it_value.tv_usec = 100000 };
		CHECK(setitimer(ITIMER_REAL, &alarm, NULL) == 0);
		CHECK(timer_delete(after(50, SIGUSR1)) == 0);
		after(100, SIGUSR1);
		after(100, SIGUSR2);
		sigset_t all, pending;
		sigfillset(&all);
		CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
		after(5, SIGTERM);
		nap.tv_nsec = 20000000L;
		CHECK(nanosleep(&nap, NULL) == 0);
		CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGTERM));
		execl("/proc/self/exe", argv[0], "again", NULL);
		return 1;
	}
	CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
	CHECK(nanosleep(&nap, NULL) == 0);
	siginfo_t info;
	CHECK(sigwaitinfo(&set, &info) == SIGALRM);
	say("ok exec_timers\n");
	return 0;
}
