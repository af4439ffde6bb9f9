/* Inode numbers, times and sizes are asked once; links and kinds are true. */
#include "guest.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
int main(void)
{
	int fd = open("f", O_CREAT | O_RDWR, 0640);
	CHECK(fd >= 0 && write(fd, "12345", 5) == 5);
	struct stat a, b, c;
	CHECK(fstat(fd, &a) == 0 && stat("f", &b) == 0 && lstat("f", &c) == 0);
	CHECK(a.st_ino == b.st_ino && b.st_ino == c.st_ino && a.st_size == 5);
	voted(&a, sizeof a);
	say("mode %o size %ld links %ld\n", a.st_mode, (long)a.st_size, (long)a.st_nlink);
	struct statx x;
	CHECK(statx(AT_FDCWD, "f", 0, STATX_ALL, &x) == 0 && x.stx_ino == a.st_ino);
	voted(&x, sizeof x);
	CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) == 0 && x.stx_size == 5);
	struct statfs fs;
	CHECK(statfs(".", &fs) == 0 && fstatfs(fd, &fs) == 0);
	voted(&fs, sizeof fs);
	struct statvfs vfs;
	CHECK(statvfs("/", &vfs) == 0);
	struct timespec times[2] = { { 1000000000, 5 }, { 1100000000, 7 } };
	CHECK(futimens(fd, times) == 0 && utimensat(AT_FDCWD, "f", times, 0) == 0);
	CHECK(fstat(fd, &a) == 0);
	say("mtime %ld.%ld\n", (long)a.st_mtim.tv_sec, a.st_mtim.tv_nsec);
	CHECK(access("f", R_OK) == 0);
	FAILS(access("missing", F_OK), ENOENT);
	CHECK(faccessat(AT_FDCWD, "f", W_OK, AT_EACCESS) == 0);
	CHECK(fchmod(fd, 0600) == 0 && chmod("f", 0604) == 0 && fchmodat(AT_FDCWD, "f", 0644, 0) == 0);
	CHECK(stat("/dev/null", &a) == 0 && S_ISCHR(a.st_mode) && major(a.st_rdev) == 1);
	CHECK(chown("f", -1, -1) == 0 && fchown(fd, getuid(), getgid()) == 0);
	FAILS(stat("f/below", &a), ENOTDIR);
	say("ok filestat\n");
	return 0;
}
