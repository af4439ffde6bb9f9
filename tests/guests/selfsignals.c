/* Signals from oneself in a tight loop: each handler runs at the call that raised it. */
#include "guest.h"
static volatile unsigned long trace = 1;
static volatile int n;
static void on(int signal)
{
	trace = trace * 31 + signal + n;
	n++;
}
int main(void)
{
	for (int s = SIGRTMIN; s < SIGRTMIN + 8; s++)
		signal(s, on);
	for (int round = 0; round < 200; round++) {
		CHECK(raise(SIGRTMIN + round % 8) == 0);
		CHECK(n == round + 1);
		if (round % 50 == 0)
			say("%lx\n", trace);
	}
	say("%lx\n", trace);
	return 0;
}
