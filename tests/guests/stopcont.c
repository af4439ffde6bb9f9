/* Stop and continue of a child, seen by waitpid and waitid. */
#include "guest.h"
int main(void)
{
	int go[2];
	char c;
	CHECK(pipe(go) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		for (int i = 0; i < 3; i++) {
			raise(SIGSTOP);
			read_all(go[0], &c, 1);
		}
		_exit(11);
	}
	int status;
	for (int i = 0; i < 3; i++) {
		CHECK(waitpid(child, &status, WUNTRACED) == child);
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
		CHECK(kill(child, SIGCONT) == 0);
		siginfo_t info;
		CHECK(waitid(P_PID, child, &info, WCONTINUED) == 0);
		CHECK(info.si_code == CLD_CONTINUED && info.si_status == SIGCONT);
		write_all(go[1], "g", 1);
	}
	exited_with(child, 11);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	CHECK(kill(child, SIGSTOP) == 0);
	siginfo_t info;
	CHECK(waitid(P_PID, child, &info, WSTOPPED) == 0 && info.si_code == CLD_STOPPED);
	CHECK(kill(child, SIGTERM) == 0);
	CHECK(waitpid(child, &status, WNOHANG) == 0);
	CHECK(kill(child, SIGCONT) == 0);
	CHECK(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGTERM);
	say("ok stopcont\n");
	return 0;
}
