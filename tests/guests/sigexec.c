/* exec keeps the mask, what is pending and what is ignored; it resets handlers. */
#include "guest.h"
static void on(int signal) { (void)signal; }
int main(int argc, char **argv)
{
	sigset_t set;
	struct sigaction action;
	if (argc == 1) {
		signal(SIGUSR1, on);
		signal(SIGUSR2, SIG_IGN);
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigaddset(&set, SIGRTMIN + 3);
		CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0 && raise(SIGTERM) == 0);
		execl("/proc/self/exe", argv[0], "again", NULL);
		return 1;
	}
	CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
	CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
	CHECK(sigismember(&set, SIGTERM) && sigismember(&set, SIGRTMIN + 3) && !sigismember(&set, SIGUSR1));
	CHECK(sigpending(&set) == 0 && sigismember(&set, SIGTERM));
	siginfo_t info;
	CHECK(sigwaitinfo(&set, &info) == SIGTERM && info.si_pid == getpid());
	say("ok sigexec\n");
	return 0;
}
