/* Ends as its arguments say: exit N, group N, signal N, abort, return, or a bare exit of the thread. */
#include "guest.h"
#include <sys/resource.h>
int main(int argc, char **argv)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	int n = argc > 2 ? atoi(argv[2]) : 0;
	say("about to end\n");
	switch (argc > 1 ? argv[1][0] : 'r') {
	case 'e':
		exit(n);
	case 'g':
		syscall(SYS_exit_group, n);
	case 't':
		syscall(SYS_exit, n);
	case 's':
		kill(getpid(), n);
		pause();
	case 'f':
		*(volatile int *)8 = 1;
	case 'i':
		__builtin_trap();
	case 'a':
		abort();
	}
	return n;
}
