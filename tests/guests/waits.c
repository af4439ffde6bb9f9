/* The whole wait family: any child, groups, WNOHANG, WNOWAIT, usage, waitid. */
#include "guest.h"
#include <sys/resource.h>
static pid_t child_that(int code, int *hold)
{
	int ends[2];
	CHECK(pipe(ends) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		char c;
		close(ends[1]);
		if (hold)
			read(ends[0], &c, 1);
		_exit(code);
	}
	close(ends[0]);
	if (hold)
		*hold = ends[1];
	else
		close(ends[1]);
	return child;
}
int main(void)
{
	int hold, status;
	struct rusage use;
	siginfo_t info;
	FAILS(wait(&status), ECHILD);
	pid_t child = child_that(1, &hold);
	CHECK(waitpid(child, &status, WNOHANG) == 0);
	CHECK(waitpid(-1, &status, WNOHANG) == 0);
	memset(&info, 1, sizeof info);
	CHECK(waitid(P_PID, child, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);
	close(hold);
	CHECK(wait(&status) == child && WEXITSTATUS(status) == 1);
	child = child_that(2, NULL);
	CHECK(wait4(-1, &status, 0, &use) == child && WEXITSTATUS(status) == 2);
	voted(&use, sizeof use);
	child = child_that(3, NULL);
	CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
	CHECK(info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 3 && info.si_signo == SIGCHLD);
	CHECK(waitid(P_PID, child, &info, WEXITED) == 0 && info.si_status == 3);
	FAILS(waitid(P_PID, child, &info, WEXITED), ECHILD);
	child = child_that(4, NULL);
	CHECK(waitpid(0, &status, 0) == child && WEXITSTATUS(status) == 4);
	FAILS(waitpid(child, &status, 0), ECHILD);
	FAILS(waitpid(-1, &status, 0x40000000 | 0x100), EINVAL);
	int seen = 0;
	for (int i = 0; i < 5; i++)
		child_that(1 << i, NULL);
	for (int i = 0; i < 5; i++) {
		CHECK(wait(&status) > 0);
		seen |= WEXITSTATUS(status);
	}
	say("exit bits %#x\n", seen);
	child = fork();
	if (child == 0) {
		pause();
		_exit(1);
	}
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitid(P_PID, child, &info, WEXITED) == 0 && info.si_code == CLD_KILLED && info.si_status == SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	child_that(0, NULL);
	FAILS(wait(&status), ECHILD);
	say("ok waits\n");
	return 0;
}
