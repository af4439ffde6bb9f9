/* exec by another thread than the first: it has the pid from then on, the parent
 * gets its end, and what was pending and blocked stays so. The first thread waits,
 * calls, or has ended by then. */
#include "threads.h"
#include <semaphore.h>
#include <sys/wait.h>
static char *me, pid[16];
static int stage;
static sem_t never;
static atomic_int ready;
static void *waits(void *unused)
{
	ready++;
	sem_wait(&never);
	return unused;
}
static void *executes(void *unused)
{
	char next[16];
	snprintf(next, sizeof next, "%d", stage + 1);
	while (ready < 2)
		usleep(500);
	OK(pthread_kill(pthread_self(), SIGUSR2));
	execl(me, me, next, pid, (char *)NULL);
	CHECK(!"exec");
	return unused;
}
static void *adds(void *to)
{
	(*(int *)to)++;
	return to;
}
static void lives_on(void)
{
	int count = 0, status;
	for (int i = 0; i < 5; i++)
		ended(begin(adds, &count));
	CHECK(count == 5);
	pid_t child = fork();
	if (child == 0)
		_exit(getppid() == atoi(pid) ? 7 : 8);
	CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
}
int main(int argc, char **argv)
{
	sigset_t set;
	me = argv[0];
	stage = argc == 3 ? atoi(argv[1]) : 0;
	if (stage == 0) {
		int status;
		pid_t child = fork();
		if (child != 0) {
			CHECK(wait4(child, &status, 0, NULL) == child);
			say("ended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
			return 0;
		}
		snprintf(pid, sizeof pid, "%d", getpid());
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigaddset(&set, SIGUSR2);
		CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
		CHECK(kill(getpid(), SIGUSR1) == 0);
	} else {
		snprintf(pid, sizeof pid, "%s", argv[2]);
		CHECK(getpid() == atoi(pid) && gettid() == getpid());
		CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
		CHECK(sigismember(&set, SIGUSR1) && sigismember(&set, SIGUSR2));
		CHECK(sigpending(&set) == 0);
		CHECK(sigismember(&set, SIGUSR1) && sigismember(&set, SIGUSR2));
		lives_on();
		say("stage %d\n", stage);
		if (stage == 4)
			return 33;
	}
	CHECK(sem_init(&never, 0, 0) == 0);
	begin(waits, NULL);
	begin(executes, NULL);
	ready++;
	if (stage == 1)
		pthread_exit(NULL);
	for (;;)
		if (stage == 2)
			getppid();
		else
			pause();
}
