/* Threads that hand a counter round under a mutex and condition variables, sleep with timeouts, own a recursive
 * and an error-checking lock across calls, and know each other by number. Each writes lines to its own file
 * and all write to one; what is in them does not depend on who was fast. image_threads ROUNDS */
#include "threads.h"
#include <semaphore.h>

enum { WORKERS = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t nested, checked;
static sem_t ticks;
static long turn, rounds;
static pid_t tids[WORKERS + 1];
static int out;

/* The numbers are those of the beginning. */
static void same(long i)
{
	CHECK(gettid() == tids[i]);
	if (i == WORKERS)
		CHECK(getpid() == tids[i]);
}

static void *work(void *with)
{
	long i = (long)with;
	char name[16], path[32];
	snprintf(name, sizeof(name), "worker %ld", i);
	snprintf(path, sizeof(path), "out.%ld", i);
	OK(pthread_setname_np(pthread_self(), name));
	int own = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	CHECK(own >= 0);
	tids[i] = gettid();
	for (long n = 0; n < rounds; n++) {
		OK(pthread_mutex_lock(&lock));
		while (turn % WORKERS != i)
			OK(pthread_cond_wait(&moved, &lock));
		dprintf(out, "%ld: %ld\n", n, i);
		turn++;
		OK(pthread_cond_broadcast(&moved));
		OK(pthread_mutex_unlock(&lock));

		/* A lock that knows its owner's number, held over calls. */
		OK(pthread_mutex_lock(&nested));
		OK(pthread_mutex_lock(&nested));
		pause_unless_hurried(6000);
		same(i);
		OK(pthread_mutex_unlock(&nested));
		OK(pthread_mutex_unlock(&nested));
		OK(pthread_mutex_lock(&checked));
		GIVES(pthread_mutex_lock(&checked), EDEADLK);
		pause_unless_hurried(4000);
		OK(pthread_mutex_unlock(&checked));
		char seen[16];
		OK(pthread_getname_np(pthread_self(), seen, sizeof(seen)));
		dprintf(own, "%ld %s\n", n, seen);
		sem_post(&ticks);
	}
	close(own);
	return with;
}

/* A wait that always ends by its timeout. */
static void *wait_in_vain(void *with)
{
	static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	OK(pthread_mutex_lock(&lock));
	while (turn < rounds * WORKERS) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 7000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		GIVES(pthread_cond_timedwait(&never, &lock, &until), ETIMEDOUT);
	}
	OK(pthread_mutex_unlock(&lock));
	return with;
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t kind;
	pthread_t all[WORKERS], vain;

	rounds = argc > 1 ? atol(argv[1]) : 100;
	OK(pthread_mutexattr_init(&kind));
	OK(pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE));
	OK(pthread_mutex_init(&nested, &kind));
	OK(pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK));
	OK(pthread_mutex_init(&checked, &kind));
	CHECK(sem_init(&ticks, 0, 0) == 0);
	out = open("out", O_CREAT | O_WRONLY | O_TRUNC | O_APPEND, 0644);
	CHECK(out >= 0);
	tids[WORKERS] = getpid();
	for (long i = 0; i < WORKERS; i++)
		all[i] = begin(work, (void *)i);
	vain = begin(wait_in_vain, NULL);
	for (long n = 0; n < rounds * WORKERS; n++) {
		while (sem_wait(&ticks) < 0)
			CHECK(errno == EINTR);
		same(WORKERS);
	}
	for (long i = 0; i < WORKERS; i++) {
		CHECK(pthread_kill(all[i], 0) == 0 || 1);
		CHECK(ended(all[i]) == (void *)i);
	}
	CHECK(ended(vain) == NULL);
	dprintf(out, "done %ld\n", turn);
	return 0;
}
