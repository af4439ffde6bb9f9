/* fcntl locks (of the process), open-file locks and flock, between parent and child. */
#include "guest.h"
#include <sys/file.h>
int main(void)
{
	int fd = open("locked", O_CREAT | O_RDWR, 0644), up[2], down[2];
	char c;
	CHECK(fd >= 0 && pipe(up) == 0 && pipe(down) == 0);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
	CHECK(fcntl(fd, F_SETLK, &lock) == 0 && flock(fd, LOCK_EX) == 0);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		struct flock test = lock;
		CHECK(fcntl(fd, F_GETLK, &test) == 0 && test.l_type == F_WRLCK && test.l_pid == parent);
		test = lock;
		CHECK(fcntl(fd, F_SETLK, &test) == -1 && (errno == EAGAIN || errno == EACCES));
		test.l_start = 30;
		CHECK(fcntl(fd, F_SETLK, &test) == 0);
		int other = open("locked", O_RDWR);
		FAILS(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
		write_all(up[1], "t", 1);
		test.l_start = 10;
		CHECK(fcntl(fd, F_SETLKW, &test) == 0);
		write_all(up[1], "l", 1);
		read_all(down[0], &c, 1);
		_exit(0);
	}
	read_all(up[0], &c, 1);
	struct flock test = lock;
	test.l_start = 30;
	CHECK(fcntl(fd, F_GETLK, &test) == 0 && test.l_type == F_WRLCK && test.l_pid == child);
	lock.l_type = F_UNLCK;
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	read_all(up[0], &c, 1);
	CHECK(c == 'l');
	write_all(down[1], "d", 1);
	exited_with(child, 0);
	CHECK(flock(fd, LOCK_UN) == 0);
	int other = open("locked", O_RDWR);
	CHECK(flock(other, LOCK_EX | LOCK_NB) == 0);
	FAILS(flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	struct flock mine = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	CHECK(fcntl(fd, F_OFD_SETLK, &mine) == 0);
	FAILS(fcntl(other, F_OFD_SETLK, &mine), EAGAIN);
	CHECK(lockf(other, F_TEST, 0) == -1);
	say("ok locks\n");
	return 0;
}
