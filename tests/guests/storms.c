/* A timer's signals come all the time, their handler does not restart calls:
 * those that cannot wait are never interrupted, whenever a signal comes. */
#include "guest.h"
#include <sys/time.h>
static volatile sig_atomic_t taken;
static void on(int signal) { taken += signal == SIGALRM; }
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { 0 };
	sigset_t none, old;
	char byte = 'x';
	int file = open("file", O_RDWR | O_CREAT, 0600);
	sigemptyset(&none);
	sigaddset(&none, SIGUSR1);
	CHECK(file >= 0 && sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (int i = 0; i < 4000 || taken < 20; i++) {
		CHECK(sigprocmask(SIG_BLOCK, &none, &old) == 0);
		CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
		CHECK(pwrite(file, &byte, 1, i % 100) == 1);
		CHECK(lseek(file, 0, SEEK_END) > 0);
		CHECK(fcntl(file, F_GETFD) == 0);
		CHECK(getppid() > 0);
	}
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	say("no call was interrupted\n");
	return 0;
}
