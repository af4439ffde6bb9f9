/* dup in all forms, close on exec, close_range, status flags, the lowest number first. */
#include "guest.h"
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif
int main(int argc, char **argv)
{
	if (argc > 1) {
		for (int fd = 3; fd < 60; fd++)
			if (fcntl(fd, F_GETFD) >= 0)
				say("open after exec: %d\n", fd);
		return 0;
	}
	for (int fd = 3; fd < 300; fd++)
		close(fd);
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	CHECK(fd == 3 && dup(fd) == 4 && dup2(fd, 20) == 20 && dup2(fd, fd) == fd);
	CHECK(dup3(fd, 21, O_CLOEXEC) == 21 && fcntl(fd, F_DUPFD, 30) == 30);
	CHECK(fcntl(fd, F_DUPFD_CLOEXEC, 30) == 31 && fcntl(31, F_GETFD) == FD_CLOEXEC);
	FAILS(dup3(fd, fd, 0), EINVAL);
	FAILS(dup2(99, 5), EBADF);
	CHECK(fcntl(30, F_SETFD, FD_CLOEXEC) == 0 && fcntl(20, F_GETFD) == 0);
	CHECK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK) == 0 && fcntl(4, F_GETFL) & O_APPEND);
	CHECK(close(4) == 0 && open("/dev/null", O_RDONLY) == 4);
	for (int i = 40; i < 50; i++)
		CHECK(dup2(fd, i) == i);
	CHECK(syscall(SYS_close_range, 42, 44, 0) == 0 && fcntl(43, F_GETFD) == -1 && fcntl(45, F_GETFD) == 0);
	CHECK(syscall(SYS_close_range, 46, 47, CLOSE_RANGE_CLOEXEC) == 0 && fcntl(46, F_GETFD) == FD_CLOEXEC);
	FAILS(close(43), EBADF);
	pid_t child = fork();
	if (child == 0) {
		close(20);
		_exit(0);
	}
	exited_with(child, 0);
	CHECK(fcntl(20, F_GETFD) == 0);
	execl("/proc/self/exe", argv[0], "after", NULL);
	return 1;
}
