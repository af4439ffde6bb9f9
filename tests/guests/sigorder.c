/* Real-time signals queue in order; ordinary ones merge; the mask holds them. */
#include "guest.h"
static volatile int order[64], n;
static void on(int signal, siginfo_t *info, void *context)
{
	order[n++] = (signal - SIGRTMIN) * 100 + info->si_value.sival_int;
	(void)context;
}
static volatile int plain;
static void mild(int signal) { plain += signal == SIGUSR1; }
int main(void)
{
	struct sigaction action = { .sa_sigaction = on, .sa_flags = SA_SIGINFO };
	sigfillset(&action.sa_mask);
	sigset_t block, old, pending;
	sigemptyset(&block);
	for (int i = 1; i <= 3; i++) {
		CHECK(sigaction(SIGRTMIN + i, &action, NULL) == 0);
		sigaddset(&block, SIGRTMIN + i);
	}
	signal(SIGUSR1, mild);
	sigaddset(&block, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &block, &old) == 0);
	for (int i = 0; i < 4; i++)
		for (int s = 3; s >= 1; s--)
			CHECK(sigqueue(getpid(), SIGRTMIN + s, (union sigval){ .sival_int = i }) == 0);
	for (int i = 0; i < 5; i++)
		CHECK(raise(SIGUSR1) == 0);
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGRTMIN + 2));
	CHECK(n == 0 && plain == 0);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
	CHECK(plain == 1 && n == 12);
	for (int i = 0; i < n; i++)
		say("%d ", order[i]);
	say("\n");
	return 0;
}
