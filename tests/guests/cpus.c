/* No processor number leaks into one copy alone. */
#include "guest.h"
#include <sched.h>
int main(void)
{
	for (int round = 0; round < 50; round++) {
		int cpu = sched_getcpu();
		unsigned a = 0, node = 0;
		CHECK(syscall(SYS_getcpu, &a, &node, NULL) == 0);
		voted(&cpu, sizeof cpu);
		voted(&a, sizeof a);
		CHECK(sched_yield() == 0);
	}
	cpu_set_t set;
	CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
	say("may run on %d\n", CPU_COUNT(&set));
	/* What it was allowed is told to it, to its child, and to its parent of that child. */
	cpu_set_t one, got;
	CPU_ZERO(&one);
	for (int cpu = CPU_SETSIZE - 1; CPU_COUNT(&one) == 0; cpu--)
		if (CPU_ISSET(cpu, &set))
			CPU_SET(cpu, &one);
	CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
	CHECK(sched_getaffinity(getpid(), sizeof got, &got) == 0 && CPU_EQUAL(&one, &got));
	int ends[2];
	CHECK(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		CHECK(sched_getaffinity(0, sizeof got, &got) == 0 && CPU_EQUAL(&one, &got));
		read_all(ends[0], &child, 1);
		_exit(0);
	}
	CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
	CHECK(sched_getaffinity(child, sizeof got, &got) == 0 && CPU_EQUAL(&one, &got));
	write_all(ends[1], "x", 1);
	exited_with(child, 0);
	CPU_ZERO(&one);
	FAILS(sched_setaffinity(0, sizeof one, &one), EINVAL);
	FAILS(sched_getaffinity(0, 1, &got), EINVAL);
	return 0;
}
