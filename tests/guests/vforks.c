/* vfork: the parent waits for exec or exit, and memory is shared until then. */
#include "guest.h"
int main(int argc, char **argv)
{
	volatile int seen = 0;
	pid_t child = vfork();
	if (child == 0) {
		seen = 42;
		_exit(7);
	}
	CHECK(child > 0);
	exited_with(child, 7);
	say("written by the child: %d\n", seen);
	child = vfork();
	if (child == 0) {
		execl("/bin/echo", "echo", "from", "exec", NULL);
		_exit(127);
	}
	exited_with(child, 0);
	child = vfork();
	if (child == 0) {
		execl("/missing/program", "x", NULL);
		seen = errno;
		_exit(1);
	}
	exited_with(child, 1);
	CHECK(seen == ENOENT);
	say("ok vforks\n");
	return 0;
}
