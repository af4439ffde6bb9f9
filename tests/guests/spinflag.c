/* Computes without a call until a handler says stop: a signal that cannot wait for a call. */
#include "guest.h"
static volatile sig_atomic_t stop;
static void on(int signal) { stop = signal; }
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	volatile uint64_t work = 1;
	for (int round = 0; round < 2; round++) {
		stop = 0;
		alarm(1);
		while (!stop)
			work = work * 6364136223846793005u + 1;
		say("stopped by %d\n", (int)stop);
	}
	return 0;
}
