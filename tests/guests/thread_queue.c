/* A pool whose threads take tasks from queues of their own and steal from each
 * other's, with atomics and without a lock; those with nothing to do wait on a
 * condition. Tasks make tasks; what comes out does not depend on who did what. */
#include "threads.h"
enum { THREADS = 4, ROOM = 1 << 13, FIRST = 20 };
static _Atomic uint32_t tasks[THREADS][ROOM];
static atomic_uint heads[THREADS], tails[THREADS];
static atomic_int open_tasks, sleeping;
static atomic_ulong done, result;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
/* Only the owner puts. */
static void put(long queue, uint32_t task)
{
	open_tasks++;
	unsigned at = tails[queue];
	CHECK(at < ROOM);
	tasks[queue][at] = task;
	tails[queue] = at + 1;
	if (sleeping) {
		OK(pthread_mutex_lock(&lock));
		OK(pthread_cond_broadcast(&more));
		OK(pthread_mutex_unlock(&lock));
	}
}
static int take(long queue, uint32_t *task)
{
	unsigned at = heads[queue];
	while (at < tails[queue]) {
		*task = tasks[queue][at];
		if (atomic_compare_exchange_weak(&heads[queue], &at, at + 1))
			return 1;
	}
	return 0;
}
static int find(long me, uint32_t *task)
{
	for (long i = 0; i < THREADS; i++)
		if (take((me + i) % THREADS, task))
			return 1;
	return 0;
}
static void perform(long me, uint32_t task)
{
	uint64_t hash = task;
	for (int i = 0; i < 300; i++)
		hash = sum(hash, &task, sizeof task);
	result += hash;
	done++;
	/* Half of it each, as long as there is something to halve. */
	if (task > 1) {
		put(me, task / 2);
		put(me, task - task / 2);
	}
	if (--open_tasks == 0) {
		OK(pthread_mutex_lock(&lock));
		OK(pthread_cond_broadcast(&more));
		OK(pthread_mutex_unlock(&lock));
	}
}
static void *works(void *number)
{
	long me = (long)number;
	uint32_t task;
	for (;;) {
		if (find(me, &task)) {
			perform(me, task);
			continue;
		}
		OK(pthread_mutex_lock(&lock));
		sleeping++;
		int found = 0;
		while (open_tasks && !(found = find(me, &task)))
			OK(pthread_cond_wait(&more, &lock));
		sleeping--;
		OK(pthread_mutex_unlock(&lock));
		if (!found)
			return number;
		perform(me, task);
	}
}
int main(void)
{
	for (int i = 1; i <= FIRST; i++)
		put(0, (uint32_t)i * 10);
	all(THREADS, works);
	say("done %lu, result %016lx\n", done, result);
	return 0;
}
