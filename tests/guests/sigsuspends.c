/* A parent and a child wake one another through sigsuspend, many times. */
#include "guest.h"
static volatile sig_atomic_t turns;
static void on(int signal) { turns += signal == SIGUSR1; }
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	sigset_t block, wait;
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(sigprocmask(SIG_BLOCK, &block, &wait) == 0);
	sigdelset(&wait, SIGUSR1);
	pid_t parent = getpid(), child = fork();
	CHECK(child >= 0);
	for (int round = 0; round < 50; round++) {
		if (child == 0) {
			CHECK(kill(parent, SIGUSR1) == 0);
			while (turns <= round)
				sigsuspend(&wait);
		} else {
			while (turns <= round)
				FAILS(sigsuspend(&wait), EINTR);
			CHECK(kill(child, SIGUSR1) == 0);
		}
	}
	if (child == 0)
		_exit(turns == 50 ? 0 : 1);
	exited_with(child, 0);
	say("turns %d\n", (int)turns);
	return 0;
}
