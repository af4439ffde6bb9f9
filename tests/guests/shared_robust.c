/* Robust mutexes in memory that processes share: one that ends (with the argument
 * "e" by exit, "s" by a signal, "x" by executing another program, "t" as a process of
 * several threads) leaves its own to the next owner, whether that one waits already or
 * not. */
#include "threads.h"
#include <sys/mman.h>
#include <sys/wait.h>
static struct both {
	pthread_mutex_t plain, heir;
	atomic_int held, let_go;
} *both;
static void ends(char how)
{
	if (how == 's')
		raise(SIGKILL);
	if (how == 'x')
		execl("/bin/true", "true", (char *)NULL);
	_exit(0);
}
static void *locks(void *unused)
{
	OK(pthread_mutex_lock(&both->plain));
	OK(pthread_mutex_lock(&both->heir));
	both->held = 1;
	return unused;
}
static void *holds(void *how)
{
	locks(NULL);
	await(&both->let_go);
	ends(*(char *)how);
	return NULL;
}
static void *waits(void *unused)
{
	usleep(20000);
	both->let_go = 1;
	return unused;
}
static void inherit(pthread_mutex_t *lock)
{
	GIVES(pthread_mutex_lock(lock), EOWNERDEAD);
	OK(pthread_mutex_consistent(lock));
	OK(pthread_mutex_unlock(lock));
}
static void all_of(int protocol, char how)
{
	pthread_mutexattr_t attr;
	OK(pthread_mutexattr_init(&attr));
	OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	OK(pthread_mutexattr_setprotocol(&attr, protocol));
	OK(pthread_mutex_init(&both->plain, &attr));
	OK(pthread_mutex_init(&both->heir, &attr));
	for (int waited = 0; waited < 2; waited++) {
		int status;
		both->held = 0;
		both->let_go = !waited;
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			if (how == 't') {
				begin(holds, &how);
				pause();
			}
			holds(&how);
		}
		await(&both->held);
		if (!waited)
			CHECK(waitpid(child, &status, 0) == child);
		pthread_t thread = begin(waits, NULL);
		inherit(&both->heir);
		ended(thread);
		inherit(&both->plain);
		if (waited)
			CHECK(waitpid(child, &status, 0) == child);
		CHECK(how == 's' ? WIFSIGNALED(status) : status == 0);
	}
}
int main(int argc, char **argv)
{
	both = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(argc == 2 && both != MAP_FAILED);
	all_of(PTHREAD_PRIO_NONE, argv[1][0]);
	say("robust\n");
	all_of(PTHREAD_PRIO_INHERIT, argv[1][0]);
	say("with inherited priority\n");
	return 0;
}
