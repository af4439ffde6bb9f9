/* Children that die by every signal that kills: the parent sees which. */
#include "guest.h"
#include <sys/resource.h>
int main(void)
{
	static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL,
		SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM,
		SIGPROF, SIGIO, SIGPWR, SIGSYS, 34, 40, 64 };
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	for (unsigned i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			signal(deadly[i], SIG_DFL);
			raise(deadly[i]);
			_exit(1);
		}
		int status = reap(child);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == deadly[i]);
	}
	static const int mild[] = { SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
	for (unsigned i = 0; i < 4; i++) {
		pid_t child = fork();
		if (child == 0) {
			signal(mild[i], SIG_DFL);
			raise(mild[i]);
			_exit(12);
		}
		exited_with(child, 12);
	}
	pid_t child = fork();
	if (child == 0)
		*(volatile int *)8 = 1;
	CHECK(WTERMSIG(reap(child)) == SIGSEGV);
	child = fork();
	if (child == 0)
		__builtin_trap();
	CHECK(WTERMSIG(reap(child)) == SIGILL);
	child = fork();
	if (child == 0)
		abort();
	CHECK(WTERMSIG(reap(child)) == SIGABRT);
	say("ok sigdeaths\n");
	return 0;
}
