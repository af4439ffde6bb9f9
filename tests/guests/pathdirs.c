/* Directories opened with O_PATH: one can go there, look from there, and
 * start a program that is named from there. */
#include "guest.h"
int main(int argc, char **argv)
{
	struct stat here, there;
	char self[4096];
	if (argc > 1) {
		say("started as %s\n", argv[1]);
		return 7;
	}
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CHECK(n > 0);
	self[n] = 0;
	CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
	CHECK(symlink(self, "d/e/again") == 0);
	int d = open("d", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int e = openat(d, "e", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(d >= 0 && e >= 0);
	CHECK(fstat(e, &there) == 0);
	CHECK(fchdir(d) == 0 && fchdir(e) == 0);
	CHECK(stat(".", &here) == 0);
	say("there: %d\n", here.st_ino == there.st_ino);
	pid_t child = fork();
	if (child == 0) {
		execl("./again", "again", "a child", (char *)NULL);
		_exit(98);
	}
	exited_with(child, 7);
	FAILS(fchdir(open("again", O_PATH)), ENOTDIR);
	return 0;
}
