/* exec ends all other threads, whether they wait or compute, and keeps the pid,
 * even when (with the argument "other") a thread other than the first makes it.
 * One that fails changes nothing. */
#include "threads.h"
#include <dirent.h>
#include <semaphore.h>
static char *me, *who, pid[16];
static int ends[2];
static sem_t never;
static atomic_int ready;
static void *reads(void *unused)
{
	ready++;
	read(ends[0], &(char){ 0 }, 1);
	CHECK(!"a read that nobody ends");
	return unused;
}
static void *waits(void *unused)
{
	ready++;
	sem_wait(&never);
	return unused;
}
static void *computes(void *unused)
{
	ready++;
	for (volatile unsigned long i = 0;; i++)
		;
	return unused;
}
static void *calls(void *unused)
{
	for (ready++;;)
		getppid();
	return unused;
}
static void *executes(void *stage)
{
	FAILS(execl("/nowhere/at/all", "x", (char *)NULL), ENOENT);
	FAILS(execl("/", "x", (char *)NULL), EACCES);
	execl(me, me, who, stage, pid, (char *)NULL);
	CHECK(!"exec");
	return NULL;
}
static int tasks(void)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/task");
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
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
	CHECK(tasks() == 1 && gettid() == getpid());
	say("stage %d, one thread, the same pid\n", stage);
	if (stage == 3)
		return 33;
	CHECK(pipe2(ends, O_CLOEXEC) == 0 && sem_init(&never, 0, 0) == 0);
	begin(reads, NULL);
	begin(waits, NULL);
	begin(calls, NULL);
	if (stage >= 1)
		begin(computes, NULL);
	while (ready < 3 + (stage >= 1))
		usleep(500);
	if (strcmp(who, "other") == 0) {
		begin(executes, next);
		pause();
	}
	executes(next);
}
