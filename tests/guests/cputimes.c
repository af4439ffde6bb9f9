/* The CPU time of a child that computed is its parent's to see: in wait4's
 * usage, in getrusage and in times; that of the parent itself does not grow. */
#include "guest.h"
#include <sys/resource.h>
#include <sys/times.h>
static double seconds(const struct rusage *usage)
{
	return usage->ru_utime.tv_sec + usage->ru_stime.tv_sec +
	       (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}
static void compute(double until)
{
	struct rusage usage;
	do {
		for (volatile int i = 0; i < 1000000; i++)
			;
		CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
	} while (seconds(&usage) < until);
}
int main(void)
{
	struct rusage own, all;
	struct tms now;
	siginfo_t info;
	int status;
	pid_t child = fork();
	if (child == 0) {
		pid_t grandchild = fork();
		if (grandchild == 0) {
			compute(0.1);
			_exit(2);
		}
		exited_with(grandchild, 2);
		compute(0.1);
		_exit(1);
	}
	CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
	CHECK(info.si_pid == child && info.si_status == 1);
	CHECK(wait4(child, &status, 0, &own) == child);
	CHECK(getrusage(RUSAGE_CHILDREN, &all) == 0);
	CHECK(times(&now) != (clock_t)-1);
	say("the child's: %d, all children's: %d, in ticks: %d\n",
	    seconds(&own) >= 0.2, seconds(&all) >= 0.2,
	    now.tms_cutime + now.tms_cstime >= 18);
	CHECK(getrusage(RUSAGE_SELF, &own) == 0);
	say("the parent's own: %s\n", seconds(&own) < 0.1 ? "little" : "much");
	return 0;
}
