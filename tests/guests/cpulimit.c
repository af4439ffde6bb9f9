/* Children that compute for longer than they may: one is told at the soft
 * limit and dies of it, one goes over the hard limit. */
#include "guest.h"
#include <sys/resource.h>
static int dies_of(rlim_t soft, rlim_t hard)
{
	pid_t child = fork();
	if (child == 0) {
		struct rlimit limit = { soft, hard };
		CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
		for (volatile int i = 0;; i++)
			;
	}
	int status = reap(child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}
int main(void)
{
	say("soft: %d\n", dies_of(1, 9) == SIGXCPU);
	say("hard: %d\n", dies_of(1, 1) == SIGKILL);
	return 0;
}
