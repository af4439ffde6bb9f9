/* SIGTRAP is a signal like any other to a program that neither debugs nor is debugged: blocked it stays
 * blocked, ignored it stays ignored, whatever is done to the program meanwhile. */
#include "guest.h"
#include <sys/wait.h>
static void is_as_it_was(int blocked, int ignored)
{
	sigset_t now;
	struct sigaction action;
	CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
	CHECK(!sigismember(&now, SIGTRAP) == !blocked && !sigismember(&now, SIGUSR1) == !blocked);
	CHECK(sigaction(SIGTRAP, NULL, &action) == 0);
	CHECK(action.sa_handler == (ignored ? SIG_IGN : SIG_DFL));
}
static void works(int blocked, int ignored)
{
	sigset_t all, old;
	sigfillset(&all);
	if (blocked)
		CHECK(sigprocmask(SIG_SETMASK, &all, &old) == 0);
	CHECK(signal(SIGTRAP, ignored ? SIG_IGN : SIG_DFL) != SIG_ERR);
	for (int i = 0; i < 30; i++) {
		say("%d %d %d\n", blocked, ignored, i);
		CHECK(getppid() > 0);
		is_as_it_was(blocked, ignored);
	}
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		is_as_it_was(blocked, ignored);
		say("child\n");
		is_as_it_was(blocked, ignored);
		_exit(7);
	}
	exited_with(child, 7);
	is_as_it_was(blocked, ignored);
	if (blocked)
		CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
}
int main(void)
{
	for (int i = 0; i < 4; i++)
		works(i & 1, i & 2);
	return 0;
}
