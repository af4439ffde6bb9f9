/* A SIGCHLD handler that reaps counts every child exactly once. */
#include "guest.h"
static volatile sig_atomic_t reaped, bits;
static void on(int signal)
{
	int keep = errno, status;
	(void)signal;
	while (waitpid(-1, &status, WNOHANG) > 0) {
		reaped++;
		bits ^= WEXITSTATUS(status);
	}
	errno = keep;
}
int main(void)
{
	struct sigaction action = { .sa_handler = on, .sa_flags = SA_RESTART };
	sigset_t block, open;
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	CHECK(sigaction(SIGCHLD, &action, NULL) == 0 && sigprocmask(SIG_BLOCK, &block, &open) == 0);
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0)
			_exit(i);
	}
	while (reaped < 20)
		sigsuspend(&open);
	say("reaped %d, exclusive or %d\n", (int)reaped, (int)bits);
	CHECK(sigprocmask(SIG_SETMASK, &open, NULL) == 0);
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0)
			_exit(0);
		while (reaped < 21 + i)
			usleep(1000);
	}
	say("reaped %d\n", (int)reaped);
	return 0;
}
