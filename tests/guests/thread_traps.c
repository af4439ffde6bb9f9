/* A thread that spins while others are ready is interrupted and led back: to it SIGTRAP stays blocked, caught or
 * ignored as it was. */
#include "threads.h"
static atomic_int flag, back, rings;
static uint64_t result;
static void on_trap(int signal)
{
	CHECK(signal == SIGTRAP);
	rings++;
}
static void is_as_it_was(int blocked, void (*handler)(int))
{
	sigset_t now;
	struct sigaction action;
	OK(pthread_sigmask(SIG_BLOCK, NULL, &now));
	CHECK(!sigismember(&now, SIGTRAP) == !blocked && !sigismember(&now, SIGUSR1) == !blocked);
	CHECK(sigaction(SIGTRAP, NULL, &action) == 0);
	CHECK(action.sa_handler == handler);
}
static void *computes(void *unused)
{
	for (int i = 1; i <= 3; i++) {
		for (int k = 0; k < 500000; k++)
			result = result * 6364136223846793005u + 1442695040888963407u;
		flag = i;
		while (back != i)
			;
	}
	return unused;
}
static void works(int blocked, void (*handler)(int))
{
	sigset_t all, old;
	sigfillset(&all);
	if (blocked)
		OK(pthread_sigmask(SIG_SETMASK, &all, &old));
	CHECK(signal(SIGTRAP, handler) != SIG_ERR);
	flag = back = 0;
	pthread_t thread = begin(computes, NULL);
	for (int i = 1; i <= 3; i++) {
		while (flag != i)
			;
		back = i;
	}
	is_as_it_was(blocked, handler);
	ended(thread);
	is_as_it_was(blocked, handler);
	if (handler == on_trap) {
		int before = rings;
		CHECK(raise(SIGTRAP) == 0);
		CHECK(rings == before + !blocked);
	}
	if (blocked)
		OK(pthread_sigmask(SIG_SETMASK, &old, NULL));
	say("%d %d %d %016lx\n", blocked, handler == SIG_IGN, rings, result);
}
int main(void)
{
	for (int blocked = 0; blocked < 2; blocked++) {
		works(blocked, SIG_DFL);
		works(blocked, SIG_IGN);
		works(blocked, on_trap);
	}
	return 0;
}
