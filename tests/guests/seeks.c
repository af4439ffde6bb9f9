/* Offsets, holes, truncation, allocation and syncing. */
#include "guest.h"
int main(void)
{
	int fd = open("s", O_CREAT | O_RDWR | O_TRUNC, 0644), twin = dup(fd);
	write_all(fd, "0123456789", 10);
	CHECK(lseek(twin, 0, SEEK_CUR) == 10 && lseek(fd, -3, SEEK_END) == 7 && lseek(twin, 0, SEEK_CUR) == 7);
	FAILS(lseek(fd, -100, SEEK_SET), EINVAL);
	CHECK(pwrite(fd, "far", 3, 1 << 20) == 3);
	off_t hole = lseek(fd, 0, SEEK_HOLE), data = lseek(fd, hole, SEEK_DATA);
	CHECK(hole > 0 && data > hole);
	struct stat info;
	CHECK(fstat(fd, &info) == 0 && info.st_size == (1 << 20) + 3);
	CHECK(ftruncate(fd, 5) == 0 && truncate("s", 8) == 0);
	char text[16] = "";
	CHECK(pread(fd, text, 16, 0) == 8 && memcmp(text, "01234\0\0\0", 8) == 0);
	CHECK(posix_fallocate(fd, 0, 10000) == 0 && fstat(fd, &info) == 0 && info.st_size == 10000);
	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	pid_t child = fork();
	if (child == 0) {
		lseek(fd, 4321, SEEK_SET);
		_exit(0);
	}
	exited_with(child, 0);
	CHECK(lseek(fd, 0, SEEK_CUR) == 4321);
	int other = open("s", O_RDONLY);
	CHECK(lseek(other, 0, SEEK_CUR) == 0);
	FAILS(write(other, "x", 1), EBADF);
	int ends[2];
	CHECK(pipe(ends) == 0);
	FAILS(lseek(ends[0], 0, SEEK_SET), ESPIPE);
	say("ok seeks\n");
	return 0;
}
