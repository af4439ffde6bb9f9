/* sigtimedwait, sigwaitinfo and sigwait take signals without a handler. */
#include "guest.h"
int main(void)
{
	sigset_t set;
	siginfo_t info;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGCHLD);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	struct timespec brief = { 0, 20000000 }, none = { 0, 0 };
	FAILS(sigtimedwait(&set, &info, &none), EAGAIN);
	FAILS(sigtimedwait(&set, &info, &brief), EAGAIN);
	CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 5 }) == 0);
	CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 5);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		usleep(50000);
		kill(parent, SIGUSR1);
		_exit(3);
	}
	struct timespec lots = { 60, 0 };
	CHECK(sigtimedwait(&set, &info, &lots) == SIGUSR1 && info.si_pid == child);
	int which = 0;
	CHECK(sigwait(&set, &which) == 0 && which == SIGCHLD);
	exited_with(child, 3);
	say("ok sigwaits\n");
	return 0;
}
