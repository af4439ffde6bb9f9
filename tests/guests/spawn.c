/* posix_spawn with file actions and attributes. */
#include "guest.h"
#include <spawn.h>
extern char **environ;
int main(void)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t set;
	CHECK(posix_spawn_file_actions_init(&actions) == 0 && posix_spawnattr_init(&attributes) == 0);
	CHECK(posix_spawn_file_actions_addopen(&actions, 1, "out", O_CREAT | O_WRONLY | O_TRUNC, 0644) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, 1, 2) == 0);
	sigemptyset(&set);
	CHECK(posix_spawnattr_setsigmask(&attributes, &set) == 0);
	CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP) == 0);
	char *arguments[] = { "sh", "-c", "echo spawned; echo error >&2; exit 5", NULL };
	pid_t child;
	CHECK(posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environ) == 0);
	exited_with(child, 5);
	char text[64] = "";
	int fd = open("out", O_RDONLY);
	CHECK(read(fd, text, sizeof text - 1) > 0);
	say("%s", text);
	CHECK(posix_spawn(&child, "/missing", NULL, NULL, arguments, environ) == ENOENT);
	CHECK(posix_spawnp(&child, "true", NULL, NULL, (char *[]){ "true", NULL }, environ) == 0);
	exited_with(child, 0);
	CHECK(system("exit 3") == 3 << 8);
	FILE *pipe = popen("echo through popen", "r");
	CHECK(pipe && fgets(text, sizeof text, pipe));
	say("%s", text);
	CHECK(pclose(pipe) == 0);
	return 0;
}
