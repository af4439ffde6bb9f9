/* Three processes, one of them with a second thread, that share a mutex, a condition variable, counters
 * and a table: what each finds there in its turn is voted, and written out now and then. With "c" one
 * more that crashes. */
#include "threads.h"
#include <sys/mman.h>
#include <sys/resource.h>

enum { WORKERS = 4, ROUNDS = 60, WORDS = 1000 };

static struct {
	uint32_t table[WORDS];
	pthread_mutex_t lock;
	pthread_cond_t next;
	int turn, done[WORKERS];
	uint64_t total;
} *all_see;

/* Goes round with the others; in between all of them want the lock at once. */
static void *work(void *number)
{
	int me = (int)(long)number;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < 3; i++) {
			OK(pthread_mutex_lock(&all_see->lock));
			all_see->total += me + 1;
			voted(&round, sizeof round);
			OK(pthread_mutex_unlock(&all_see->lock));
		}
		OK(pthread_mutex_lock(&all_see->lock));
		while (all_see->turn != me)
			OK(pthread_cond_wait(&all_see->next, &all_see->lock));
		uint64_t found = sum(all_see->total, all_see->table, sizeof all_see->table);
		voted(&found, sizeof found);
		for (uint32_t i = 0; i < WORDS; i++)
			all_see->table[i] = all_see->table[(i * 7 + me) % WORDS] * 31 + me + i;
		all_see->done[me]++;
		uint64_t seen = sum(0, all_see->table, sizeof all_see->table);
		voted(&seen, sizeof seen);
		if (round % 20 == 19)
			say("%d: %llx\n", me, (unsigned long long)seen);
		all_see->turn = (me + 1) % WORKERS;
		OK(pthread_cond_broadcast(&all_see->next));
		OK(pthread_mutex_unlock(&all_see->lock));
	}
	return number;
}

/* It dies as it would natively, and the others of its memory go on. */
static void crash(void)
{
	struct rlimit none = { 0, 0 };
	CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
	all_see->total += 1000;
	*(volatile int *)8 = 1;
}

int main(int argc, char **argv)
{
	all_see = mmap(NULL, sizeof *all_see, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(all_see != MAP_FAILED);
	pthread_mutexattr_t lock;
	pthread_condattr_t next;
	OK(pthread_mutexattr_init(&lock));
	OK(pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED));
	OK(pthread_mutex_init(&all_see->lock, &lock));
	OK(pthread_condattr_init(&next));
	OK(pthread_condattr_setpshared(&next, PTHREAD_PROCESS_SHARED));
	OK(pthread_cond_init(&all_see->next, &next));
	pid_t child[3] = { 0 };
	for (long number = 1; number <= 2; number++) {
		child[number - 1] = fork();
		if (child[number - 1] != 0)
			continue;
		pthread_t second;
		if (number == 2)
			second = begin(work, (void *)3L);
		work((void *)number);
		if (number == 2)
			CHECK(ended(second) == (void *)3L);
		_exit(0);
	}
	if (argc > 1 && *argv[1] == 'c') {
		child[2] = fork();
		if (child[2] == 0)
			crash();
		int status = reap(child[2]);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	}
	work((void *)0L);
	exited_with(child[0], 0);
	exited_with(child[1], 0);
	for (int i = 0; i < WORKERS; i++)
		CHECK(all_see->done[i] == ROUNDS);
	say("%llu\nok shared_group\n", (unsigned long long)all_see->total);
	return 0;
}
