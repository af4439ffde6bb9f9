/* exec ends all other threads, whether they wait or compute, and keeps the pid,
 * even when (with the argument "other") a thread other than the first makes it.
 * One that fails changes nothing. */
#include "stuck.h"
static char *me, *who, pid[16];
static void *executes(void *stage)
{
	FAILS(execl("/nowhere/at/all", "x", (char *)NULL), ENOENT);
	FAILS(execl("/", "x", (char *)NULL), EACCES);
	execl(me, me, who, stage, pid, (char *)NULL);
	CHECK(!"exec");
	return NULL;
}
int main(int argc, char **argv)
{
	int stage = argc == 4 ? atoi(argv[2]) : 0;
	char next[16];
	CHECK(argc > 1);
	me = argv[0];
	who = argv[1];
	snprintf(pid, sizeof pid, "%d", getpid());
	snprintf(next, sizeof next, "%d", stage + 1);
	CHECK(stage == 0 || strcmp(pid, argv[3]) == 0);
	CHECK(thread_count() == 1 && gettid() == getpid());
	say("stage %d, one thread, the same pid\n", stage);
	if (stage == 3)
		return 33;
	make_them_stick();
	begin(reads, NULL);
	begin(waits, NULL);
	begin(calls, NULL);
	if (stage >= 1)
		begin(computes, NULL);
	all_stuck(3 + (stage >= 1));
	if (strcmp(who, "other") == 0) {
		begin(executes, next);
		pause();
	}
	executes(next);
}
