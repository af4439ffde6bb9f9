/* clone as a process: with its own stack, as a vfork, and with a chosen exit signal. */
#include "guest.h"
#include <sched.h>
static int value;
static int body(void *argument)
{
	value = *(int *)argument;
	return value + 1;
}
int main(void)
{
	static char stack[1 << 16] __attribute__((aligned(64)));
	int argument = 20;
	pid_t child = clone(body, stack + sizeof stack, SIGCHLD, &argument);
	CHECK(child > 0);
	exited_with(child, 21);
	CHECK(value == 0);
	child = clone(body, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &argument);
	CHECK(child > 0);
	exited_with(child, 21);
	CHECK(value == 20);
	int parent_tid = 0;
	child = syscall(SYS_clone, SIGCHLD | CLONE_PARENT_SETTID, 0, &parent_tid, 0, 0);
	CHECK(child >= 0);
	if (child == 0)
		_exit(3);
	CHECK(parent_tid == child);
	exited_with(child, 3);
	child = syscall(SYS_clone, 0, 0, 0, 0, 0);
	CHECK(child >= 0);
	if (child == 0)
		_exit(4);
	int status;
	FAILS(waitpid(child, &status, WNOHANG), ECHILD);
	CHECK(waitpid(child, &status, __WALL) == child && WEXITSTATUS(status) == 4);
	say("ok cloned\n");
	return 0;
}
