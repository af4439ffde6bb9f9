/* A grandchild outlives its parent, gets a new one, and still speaks. */
#include "guest.h"
int main(void)
{
	int out[2], go[2];
	CHECK(pipe(out) == 0 && pipe(go) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		pid_t mine = getpid();
		if (fork() == 0) {
			char c;
			close(go[1]);
			CHECK(read(go[0], &c, 1) == 0);
			CHECK(getppid() != mine);
			write_all(out[1], "orphan\n", 7);
			_exit(0);
		}
		_exit(2);
	}
	exited_with(child, 2);
	close(out[1]);
	close(go[1]);
	char text[16] = "";
	read_all(out[0], text, 7);
	CHECK(read(out[0], text + 8, 1) == 0);
	say("%s", text);
	return 0;
}
