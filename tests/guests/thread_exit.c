/* Endings of a process of several threads, each in a child: the first thread
 * leaves before the others, any thread ends all while they wait or compute, a
 * thread dies by a signal. The arguments say which. */
#include "stuck.h"
static atomic_int of_first = 1;
static void *outlives(void *how)
{
	/* The kernel writes 0 there when the first thread has ended. */
	while (of_first)
		usleep(500);
	say("outlived\n");
	if (*(char *)how == 'r')
		syscall(SYS_exit, 11);
	return NULL;
}
static void *leaves(void *how)
{
	switch (*(char *)how) {
	case 'e': exit(7);
	case '_': _exit(8);
	case 'g': syscall(SYS_exit_group, 0x109);
	case 'a': abort();
	case 'k': raise(SIGKILL);
	case 's': *(volatile int *)NULL = 1;
	case 't': pthread_kill(pthread_self(), SIGTERM);
	case 'p': pthread_exit(how);
	case 'r': syscall(SYS_exit, 12);
	}
	return how;
}
static void at_exit(void) { say("at exit\n"); }
/* Returns what main is to return, if it comes to that. */
static int child(char *how)
{
	int alone = *how == 'p' || *how == 'r';
	atexit(at_exit);
	if (alone) {
		syscall(SYS_set_tid_address, &of_first);
		begin(outlives, how);
		leaves(how);
	}
	begin(reads, NULL);
	begin(waits, NULL);
	begin(computes, NULL);
	begin(calls, NULL);
	all_stuck(4);
	if (how[1] == '1')
		leaves(how);
	else if (*how != 'm')
		ended(begin(leaves, how));
	return 6;
}
int main(int argc, char **argv)
{
	CHECK(argc > 1);
	make_them_stick();
	for (char **how = argv + 1; *how; how++) {
		pid_t made = fork();
		if (made == 0)
			return child(*how);
		int status = reap(made);
		if (WIFSIGNALED(status))
			say("%s: signal %d\n", *how, WTERMSIG(status));
		else
			say("%s: status %d\n", *how, WEXITSTATUS(status));
	}
	return 0;
}
