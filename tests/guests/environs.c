/* The environment as it came, changed, and handed on. */
#include "guest.h"
extern char **environ;
int main(int argc, char **argv)
{
	if (argc > 1) {
		say("%s %s\n", getenv("KEPT") ? getenv("KEPT") : "-", getenv("GONE") ? getenv("GONE") : "-");
		return 0;
	}
	int count = 0;
	uint64_t hash = 0;
	for (char **e = environ; *e; e++, count++)
		hash = sum(hash, *e, strlen(*e));
	say("variables %d, %llx, HOME %s\n", count, (unsigned long long)hash, getenv("HOME"));
	setenv("KEPT", "kept", 1);
	setenv("GONE", "x", 1);
	unsetenv("GONE");
	pid_t child = fork();
	if (child == 0) {
		execl("/proc/self/exe", argv[0], "child", NULL);
		_exit(127);
	}
	exited_with(child, 0);
	clearenv();
	CHECK(getenv("HOME") == NULL);
	return 0;
}
