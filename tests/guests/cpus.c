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
	return 0;
}
