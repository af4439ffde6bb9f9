/* fork in a process of several threads: the child has one, its caller, handlers
 * run around it, and what they lock is whole in the child, which makes threads
 * and children of its own. */
#include "threads.h"
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long left, right;
static atomic_int stop;
static char trace[32];
static void locks(void) { pthread_mutex_lock(&lock); }
static void unlocks(void) { pthread_mutex_unlock(&lock); }
static void before_1(void) { strcat(trace, "1"); }
static void before_2(void) { strcat(trace, "2"); }
static void parent(void) { strcat(trace, "p"); }
static void child(void) { strcat(trace, "c"); }
static void *changes(void *number)
{
	while (!stop) {
		locks();
		left++;
		free(malloc(100 + left % 1000));
		right++;
		unlocks();
	}
	return number;
}
static void *adds(void *number)
{
	locks();
	left += (long)number;
	unlocks();
	return number;
}
static void in_child(void)
{
	CHECK(thread_count() == 1 && gettid() == getpid() && strcmp(trace, "21c") == 0);
	CHECK(left == right && pthread_mutex_trylock(&lock) == 0);
	unlocks();
	free(malloc(1000));
	left = 0;
	all(4, adds);
	trace[0] = 0;
	pid_t own = fork();
	if (own == 0)
		_exit(strcmp(trace, "21c") == 0 ? 23 : 24);
	exited_with(own, 23);
	_exit((int)left);
}
static void *forks(void *number)
{
	for (int i = 0; i < 10; i++) {
		trace[0] = 0;
		pid_t made = fork();
		if (made == 0)
			in_child();
		CHECK(strcmp(trace, "21p") == 0);
		exited_with(made, 6);
	}
	return number;
}
static void *waits(void *made)
{
	exited_with((pid_t)(long)made, 9);
	return made;
}
int main(void)
{
	pthread_t busy[3];
	OK(pthread_atfork(locks, unlocks, unlocks));
	OK(pthread_atfork(before_1, parent, child));
	OK(pthread_atfork(before_2, NULL, NULL));
	for (long i = 0; i < 3; i++)
		busy[i] = begin(changes, (void *)i);
	forks(NULL);
	say("forked by the main thread\n");
	ended(begin(forks, NULL));
	say("forked by another\n");
	pid_t made = fork();
	if (made == 0)
		_exit(9);
	ended(begin(waits, (void *)(long)made));
	stop = 1;
	for (int i = 0; i < 3; i++)
		ended(busy[i]);
	CHECK(left == right);
	say("ok thread_fork\n");
	return 0;
}
