/* Real-time signals queue: a burst of them comes whole, and in order while the
 * program sleeps or computes; whole, too, while its handler makes calls. */
#include "guest.h"
static volatile sig_atomic_t count, wrong, writes;
static void on(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	/* Those that come while it makes calls are only counted. */
	wrong += !writes && info->si_value.sival_int != count;
	count++;
	if (writes)
		voted(&info->si_value.sival_int, sizeof(int));
}
static void sends(pid_t to, int many)
{
	for (int i = 0; i < many; i++) {
		union sigval value = { .sival_int = i };
		while (sigqueue(to, SIGRTMIN + 2, value) < 0) {
			if (errno != EAGAIN)
				_exit(98);
			usleep(1000);
		}
	}
	_exit(0);
}
static void burst(const char *what, int many, int computes)
{
	pid_t self = getpid(), child;
	count = 0;
	voted("", 0);
	child = fork();
	if (child == 0)
		sends(self, many);
	while (count < many) {
		if (computes) {
			for (volatile int i = 0; i < 100000 && count < many; i++)
				;
			getppid();
		} else {
			usleep(500);
		}
	}
	exited_with(child, 0);
	say("%s: %d, %d out of order\n", what, count, wrong);
}
int main(void)
{
	struct sigaction action = { .sa_sigaction = on, .sa_flags = SA_SIGINFO | SA_RESTART };
	sigset_t set;
	CHECK(sigaction(SIGRTMIN + 2, &action, NULL) == 0);
	burst("sleeps", 500, 0);
	burst("computes", 40, 1);
	writes = 1;
	burst("writes", 300, 0);
	writes = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	count = 0;
	pid_t self = getpid(), child = fork();
	if (child == 0)
		sends(self, 200);
	exited_with(child, 0);
	CHECK(count == 0);
	CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
	while (count < 200)
		usleep(500);
	say("blocked: %d, %d out of order\n", count, wrong);
	return 0;
}
