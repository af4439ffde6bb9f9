/* One process identity, seen from inside, by the child and by wait. */
#include "guest.h"
int main(void)
{
	pid_t self = getpid(), parent = getppid();
	CHECK(self == (pid_t)syscall(SYS_gettid));
	/* 0 for a group or session whose leader is outside the pid namespace. */
	CHECK(getpgid(0) == getpgrp() && getsid(0) >= 0);
	voted(&self, sizeof self);
	voted(&parent, sizeof parent);
	CHECK(kill(self, 0) == 0);
	for (int round = 0; round < 3; round++) {
		int ends[2];
		CHECK(pipe(ends) == 0);
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			pid_t ids[2] = { getpid(), getppid() };
			CHECK(ids[0] == (pid_t)syscall(SYS_gettid));
			CHECK(ids[0] != self);
			write_all(ends[1], ids, sizeof ids);
			_exit(round);
		}
		pid_t ids[2];
		read_all(ends[0], ids, sizeof ids);
		voted(&child, sizeof child);
		CHECK(ids[0] == child && ids[1] == self);
		exited_with(child, round);
		close(ends[0]);
		close(ends[1]);
	}
	CHECK(self == getpid() && parent == getppid());
	FAILS(waitpid(-1, NULL, 0), ECHILD);
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", self);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	char text[512] = "";
	CHECK(read(fd, text, sizeof text - 1) > 0);
	CHECK(atoi(text) == self);
	say("ok pids\n");
	return 0;
}
