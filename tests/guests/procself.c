/* /proc/self and /proc/PID speak of this one program. */
#include "guest.h"
#include <dirent.h>
static size_t slurp(const char *path, char *to, size_t room)
{
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	size_t n = 0;
	ssize_t got;
	while (n < room - 1 && (got = read(fd, to + n, room - 1 - n)) > 0)
		n += got;
	to[n] = 0;
	close(fd);
	return n;
}
int main(int argc, char **argv)
{
	static char text[1 << 18], path[4096], real[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	CHECK(n > 0);
	path[n] = 0;
	CHECK(realpath(argv[0], real) && strcmp(real, path) == 0);
	n = readlink("/proc/self/cwd", path, sizeof path - 1);
	CHECK(n > 0);
	path[n] = 0;
	CHECK(getcwd(real, sizeof real) && strcmp(real, path) == 0);
	slurp("/proc/self/comm", text, sizeof text);
	say("comm %s", text);
	size_t length = slurp("/proc/self/cmdline", text, sizeof text);
	CHECK(strcmp(text, argv[0]) == 0);
	say("cmdline bytes beyond the name: %zu\n", length - strlen(argv[0]));
	slurp("/proc/self/environ", text, sizeof text);
	CHECK(strchr(text, '=') != NULL);
	CHECK(atoi((slurp("/proc/self/stat", text, sizeof text), text)) == getpid());
	char *pid = (slurp("/proc/self/status", text, sizeof text), strstr(text, "\nPid:"));
	CHECK(pid && atoi(pid + 5) == getpid());
	char *parent = strstr(text, "\nPPid:");
	CHECK(parent && atoi(parent + 6) == getppid());
	slurp("/proc/self/maps", text, sizeof text);
	CHECK(strstr(text, "[stack]") && strstr(text, "/procself"));
	snprintf(path, sizeof path, "/proc/%d/exe", getpid());
	CHECK((n = readlink(path, real, sizeof real - 1)) > 0);
	real[n] = 0;
	CHECK(strstr(real, "/procself"));
	int extra = open("/dev/null", O_RDONLY);
	DIR *dir = opendir("/proc/self/fd");
	CHECK(dir != NULL);
	int last = -1, fds = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		if (e->d_name[0] != '.') {
			fds++;
			if (atoi(e->d_name) > last)
				last = atoi(e->d_name);
		}
	closedir(dir);
	say("descriptors %d, highest %d, opened %d\n", fds, last, extra);
	snprintf(path, sizeof path, "/proc/self/fd/%d", extra);
	CHECK((n = readlink(path, real, sizeof real - 1)) > 0);
	real[n] = 0;
	say("descriptor names %s\n", real);
	int again = open(path, O_RDONLY);
	CHECK(again >= 0);
	return 0;
}
