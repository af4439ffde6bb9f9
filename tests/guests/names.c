/* Making, linking, renaming and removing, absolute, relative and at a directory. */
#include "guest.h"
#include <sys/param.h>
int main(void)
{
	char text[256] = "";
	CHECK(mkdir("d", 0755) == 0 && mkdirat(AT_FDCWD, "d/e", 0700) == 0);
	FAILS(mkdir("d", 0755), EEXIST);
	int dir = open("d", O_RDONLY | O_DIRECTORY), fd = openat(dir, "file", O_CREAT | O_WRONLY | O_EXCL, 0600);
	CHECK(dir >= 0 && fd >= 0);
	FAILS(openat(dir, "file", O_CREAT | O_WRONLY | O_EXCL, 0600), EEXIST);
	write_all(fd, "text\n", 5);
	CHECK(link("d/file", "hard") == 0 && linkat(dir, "file", dir, "e/hard2", 0) == 0);
	CHECK(symlink("d/file", "soft") == 0 && symlinkat("../file", dir, "e/soft2") == 0);
	ssize_t n = readlink("soft", text, sizeof text);
	CHECK(n == 6 && readlinkat(dir, "e/soft2", text, 3) == 3);
	CHECK(rename("hard", "moved") == 0 && renameat(AT_FDCWD, "moved", dir, "moved") == 0);
	CHECK(syscall(SYS_renameat2, dir, "moved", dir, "file", 1) == -1 && errno == EEXIST);
	CHECK(unlink("d/moved") == 0 && unlinkat(dir, "e/hard2", 0) == 0);
	FAILS(rmdir("d"), ENOTEMPTY);
	FAILS(unlinkat(dir, "e", 0), EISDIR);
	CHECK(mkdir("empty", 0711) == 0 && rmdir("empty") == 0);
	CHECK(chdir("d/e") == 0 && getcwd(text, sizeof text) && strcmp(text + strlen(text) - 4, "/d/e") == 0);
	fd = open("../file", O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, 100) == 5);
	CHECK(fchdir(dir) == 0 && access("e/soft2", R_OK) == 0);
	pid_t child = fork();
	if (child == 0) {
		CHECK(chdir("/") == 0);
		_exit(0);
	}
	exited_with(child, 0);
	CHECK(access("file", F_OK) == 0 && chdir("..") == 0 && access("d/file", F_OK) == 0);
	mode_t old = umask(027);
	fd = open("masked", O_CREAT | O_WRONLY, 0666);
	struct stat info;
	CHECK(fstat(fd, &info) == 0 && umask(old) == 027);
	say("mode %o, old mask %o\n", info.st_mode & 0777, old);
	CHECK(mknod("node", S_IFREG | 0600, 0) == 0 && realpath("soft", text));
	FAILS(open("soft", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("masked/x", O_RDONLY), ENOTDIR);
	char longest[5000];
	memset(longest, 'n', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	FAILS(open(longest, O_RDONLY), ENAMETOOLONG);
	FAILS(open((char *)8, O_RDONLY), EFAULT);
	return 0;
}
