/* Process groups and sessions, and signals to them. */
#include "guest.h"
int main(void)
{
	pid_t self = getpid();
	int ready[2];
	CHECK(pipe(ready) == 0);
	pid_t leader = 0, members[3];
	for (int i = 0; i < 3; i++) {
		CHECK((members[i] = fork()) >= 0);
		if (members[i] == 0) {
			CHECK(setpgid(0, leader) == 0);
			CHECK(getpgrp() == (leader ? leader : getpid()));
			write_all(ready[1], "r", 1);
			for (;;)
				pause();
		}
		char c;
		read_all(ready[0], &c, 1);
		if (i == 0)
			leader = members[0];
		CHECK(getpgid(members[i]) == leader);
	}
	CHECK(killpg(leader, SIGTERM) == 0);
	for (int i = 0; i < 3; i++) {
		int status;
		CHECK(waitpid(-leader, &status, 0) > 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	}
	FAILS(waitpid(-leader, NULL, 0), ECHILD);
	FAILS(killpg(leader, SIGTERM), ESRCH);
	pid_t child = fork();
	if (child == 0) {
		CHECK(setsid() == getpid());
		CHECK(getsid(0) == getpid() && getpgrp() == getpid());
		FAILS(setsid(), EPERM);
		FAILS(open("/dev/tty", O_RDWR), ENXIO);
		_exit(9);
	}
	exited_with(child, 9);
	CHECK(getpid() == self);
	FAILS(setpgid(1, 1), ESRCH);
	say("ok groups\n");
	return 0;
}
