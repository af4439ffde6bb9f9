/* A timer that fires faster than its signal can be handled, until the handler
 * stops it: no other instruction of the program runs meanwhile. */
#include "guest.h"
static timer_t timer;
static volatile sig_atomic_t count;
static void on(int signal)
{
	struct itimerspec never = { 0 };
	(void)signal;
	if (++count == 200)
		timer_settime(timer, 0, &never, NULL);
}
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	struct sigevent how = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	struct itimerspec often = { { 0, 1000 }, { 0, 1000 } };
	struct timespec nap = { 0, 1000000 };
	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
	CHECK(timer_create(CLOCK_MONOTONIC, &how, &timer) == 0);
	CHECK(timer_settime(timer, 0, &often, NULL) == 0);
	while (count < 200)
		nanosleep(&nap, NULL);
	CHECK(timer_delete(timer) == 0);
	say("at least 200: %d\n", count >= 200);
	return 0;
}
