/* A first thread that ends (pthread_exit(3) in main) while others go on: they hand a counter round, know the
 * process by its number, and the last one ends the process. image_left ROUNDS */
#include "threads.h"

enum { WORKERS = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static long turn, rounds;
static pid_t process;
static pthread_t first;
static int out;

static void *work(void *with)
{
	long i = (long)with;
	pid_t own = gettid();
	if (i == 0)
		CHECK(ended(first) == (void *)7);
	for (long n = 0; n < rounds; n++) {
		OK(pthread_mutex_lock(&lock));
		while (turn % WORKERS != i)
			OK(pthread_cond_wait(&moved, &lock));
		dprintf(out, "%ld: %ld\n", n, i);
		turn++;
		OK(pthread_cond_broadcast(&moved));
		OK(pthread_mutex_unlock(&lock));
		usleep(1500);
		CHECK(gettid() == own && getpid() == process && own != process);
	}
	return with;
}

static void *finish(void *with)
{
	pthread_t *all = with;
	for (long i = 0; i < WORKERS; i++)
		CHECK(ended(all[i]) == (void *)i);
	dprintf(out, "done %ld\n", turn);
	exit(0);
}

int main(int argc, char **argv)
{
	static pthread_t all[WORKERS];
	rounds = argc > 1 ? atol(argv[1]) : 100;
	out = open("out", O_CREAT | O_WRONLY | O_TRUNC | O_APPEND, 0644);
	CHECK(out >= 0);
	process = getpid();
	first = pthread_self();
	for (long i = 0; i < WORKERS; i++)
		all[i] = begin(work, (void *)i);
	begin(finish, all);
	pthread_exit((void *)7);
}
