/* exec of oneself, a static program, a script, a script of a script, by descriptor. */
#include "guest.h"
#include <libgen.h>
extern char **environ;
static void run(char *path, char **arguments, int code)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		execve(path, arguments, environ);
		_exit(127);
	}
	exited_with(child, code);
}
static void script(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755);
	CHECK(fd >= 0);
	write_all(fd, text, strlen(text));
	close(fd);
}
int main(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] >= '0' && argv[1][0] <= '9') {
		int stage = atoi(argv[1]);
		say("stage %d %s\n", stage, getenv("STAGE") ? getenv("STAGE") : "-");
		if (stage == 3)
			return 33;
		char next[16], value[16], *args[] = { argv[0], next, NULL }, *env[] = { value, NULL };
		snprintf(next, sizeof next, "%d", stage + 1);
		snprintf(value, sizeof value, "STAGE=%d", stage);
		execve("/proc/self/exe", args, env);
		return 1;
	}
	char here[4096], other[4200];
	CHECK(realpath(argv[0], here));
	run(here, (char *[]){ "execs", "0", NULL }, 33);
	snprintf(other, sizeof other, "%s/hello_static", dirname(strdup(here)));
	run(other, (char *[]){ "hello", "4", "x", NULL }, 4);
	script("one", "#!/bin/sh\necho one $# \"$1\"\nexit 6\n");
	run("./one", (char *[]){ "ignored", "a b", NULL }, 6);
	script("two", "#! ./one optional\n");
	run("./two", (char *[]){ "two", "x", NULL }, 6);
	int fd = open(other, O_RDONLY | O_CLOEXEC);
	pid_t child = fork();
	if (child == 0) {
		fexecve(fd, (char *[]){ "hello", "8", NULL }, environ);
		_exit(127);
	}
	exited_with(child, 8);
	say("ok execs\n");
	return 0;
}
