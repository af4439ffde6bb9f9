/* What a handler is told: who sent it, how, and with which value. */
#include "guest.h"
static volatile siginfo_t last;
static volatile int count;
static void on(int signal, siginfo_t *info, void *context)
{
	memcpy((void *)&last, info, sizeof *info);
	count++;
	(void)signal;
	(void)context;
}
int main(void)
{
	struct sigaction action = { .sa_sigaction = on, .sa_flags = SA_SIGINFO }, old;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGRTMIN + 1, &action, NULL) == 0);
	CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_sigaction == on);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	CHECK(count == 1 && last.si_signo == SIGUSR1 && last.si_code == SI_USER);
	CHECK(last.si_pid == getpid() && last.si_uid == getuid());
	CHECK(raise(SIGUSR1) == 0 && count == 2 && last.si_code == SI_TKILL && last.si_pid == getpid());
	CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 77 }) == 0);
	CHECK(count == 3 && last.si_code == SI_QUEUE && last.si_value.sival_int == 77);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		sigqueue(parent, SIGUSR1, (union sigval){ .sival_ptr = (void *)0x1234567890 });
		_exit(0);
	}
	exited_with(child, 0);
	CHECK(count == 4 && last.si_pid == child && last.si_value.sival_ptr == (void *)0x1234567890);
	CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
	child = fork();
	if (child == 0)
		_exit(6);
	exited_with(child, 6);
	CHECK(count == 5 && last.si_signo == SIGCHLD && last.si_pid == child);
	CHECK(last.si_code == CLD_EXITED && last.si_status == 6);
	action.sa_flags |= SA_RESETHAND;
	CHECK(sigaction(SIGUSR2, &action, NULL) == 0 && raise(SIGUSR2) == 0);
	CHECK(sigaction(SIGUSR2, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
	FAILS(sigaction(SIGKILL, &action, NULL), EINVAL);
	FAILS(kill(getpid(), 99), EINVAL);
	say("ok siginfo\n");
	return 0;
}
