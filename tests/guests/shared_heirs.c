/* The process that made the memory ends before those with which it shares it: a counter behind a mutex
 * there is right all the same. */
#include "guest.h"
#include <pthread.h>
#include <sys/mman.h>
enum { HEIRS = 2, TURNS = 300 };
static struct { pthread_mutex_t mutex; volatile int count, done; } *memory;
static void heir(int out)
{
	for (int i = 0; i < TURNS; i++) {
		CHECK(pthread_mutex_lock(&memory->mutex) == 0);
		int before = memory->count;
		if (i % 8 == 0)
			usleep(50); /* long enough for the other to come and wait */
		memory->count = before + 1;
		CHECK(pthread_mutex_unlock(&memory->mutex) == 0);
	}
	CHECK(pthread_mutex_lock(&memory->mutex) == 0);
	if (++memory->done == HEIRS)
		dprintf(out, "%d", memory->count);
	CHECK(pthread_mutex_unlock(&memory->mutex) == 0);
	_exit(0);
}
static void founder(int out)
{
	pthread_mutexattr_t shared;
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED && pthread_mutexattr_init(&shared) == 0);
	CHECK(pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutex_init(&memory->mutex, &shared) == 0);
	for (int i = 0; i < HEIRS; i++)
		if (fork() == 0)
			heir(out);
	_exit(0);
}
int main(void)
{
	int ends[2];
	char count[16] = "";
	CHECK(pipe(ends) == 0);
	pid_t first = fork();
	if (first == 0)
		founder(ends[1]);
	CHECK(reap(first) == 0 && close(ends[1]) == 0);
	CHECK(read(ends[0], count, sizeof count - 1) > 0);
	/* Up to the end of both. */
	CHECK(read(ends[0], count + 15, 1) == 0);
	say("%s\nok shared_heirs\n", count);
	return 0;
}
