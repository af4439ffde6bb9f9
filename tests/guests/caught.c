/* Signals that were caught before the program came to block them: sigpending,
 * sigsuspend and sigtimedwait find them, inside a handler and outside. */
#include "guest.h"
static volatile sig_atomic_t first, second, childs;
static void on_second(int signal) { second += signal == SIGUSR2; }
static void on_child(int signal) { childs += signal == SIGCHLD; }
static void on_first(int signal)
{
	sigset_t pending, none;
	first += signal == SIGUSR1;
	CHECK(sigpending(&pending) == 0);
	say("in the handler: pending %d, taken %d\n",
	    sigismember(&pending, SIGUSR2), (int)second);
	sigemptyset(&none);
	FAILS(sigsuspend(&none), EINTR);
	say("in the handler: taken %d\n", (int)second);
}
int main(void)
{
	struct sigaction one = { .sa_handler = on_first };
	struct sigaction two = { .sa_handler = on_second };
	struct sigaction child = { .sa_handler = on_child };
	sigset_t both, all, old;
	sigaddset(&one.sa_mask, SIGUSR2);
	sigemptyset(&both);
	sigaddset(&both, SIGUSR1);
	sigaddset(&both, SIGUSR2);
	CHECK(sigaction(SIGUSR1, &one, NULL) == 0);
	CHECK(sigaction(SIGUSR2, &two, NULL) == 0);
	CHECK(sigaction(SIGCHLD, &child, NULL) == 0);
	CHECK(sigprocmask(SIG_BLOCK, &both, NULL) == 0);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	CHECK(kill(getpid(), SIGUSR2) == 0);
	CHECK(sigprocmask(SIG_UNBLOCK, &both, NULL) == 0);
	say("taken %d %d\n", (int)first, (int)second);
	/* As a shell waits: block everything, look, sleep under the old mask. */
	for (int round = 0; round < 60; round++) {
		childs = 0;
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			_exit(round);
		sigfillset(&all);
		CHECK(sigprocmask(SIG_SETMASK, &all, &old) == 0);
		while (!childs)
			FAILS(sigsuspend(&old), EINTR);
		CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
		exited_with(pid, round);
	}
	say("every child was heard of\n");
	return 0;
}
