/* Several processes of which some have threads: two children with threads each and the parent, which has some,
 * too, hand lines on through pipes; a third child has none and gathers them. Each knows its own numbers, its
 * parent's and its children's. What `out` holds at the end does not depend on who was fast. image_crowd ROUNDS */
#include "threads.h"
#include <sys/wait.h>

enum { WORKERS = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static long turn, rounds;
static int to;
static char who;

static void doze(long us)
{
	struct timespec t = { .tv_nsec = us * 1000 };
	while (nanosleep(&t, &t) < 0)
		CHECK(errno == EINTR);
}

static void *work(void *with)
{
	long i = (long)with;
	pid_t own = gettid(), process = getpid();
	for (long n = 0; n < rounds; n++) {
		char line[64];
		OK(pthread_mutex_lock(&lock));
		while (turn % WORKERS != i)
			OK(pthread_cond_wait(&moved, &lock));
		int length = snprintf(line, sizeof(line), "%c %ld of %ld\n", who, i, n);
		CHECK(write(to, line, length) == length);
		turn++;
		OK(pthread_cond_broadcast(&moved));
		OK(pthread_mutex_unlock(&lock));
		doze(1500);
		CHECK(gettid() == own && getpid() == process);
	}
	return with;
}

/* The work of a process: its threads write, it waits for them. */
static void crowd(int fd, char name)
{
	pthread_t all[WORKERS];
	to = fd;
	who = name;
	for (long i = 0; i < WORKERS; i++)
		all[i] = begin(work, (void *)i);
	for (long i = 0; i < WORKERS; i++)
		CHECK(ended(all[i]) == (void *)i);
}

/* Reads one pipe after the other a line at a time, in turns, until all are at their end. */
static void gather(int fds[3])
{
	FILE *in[3], *out = fopen("out", "w");
	char line[64];
	int left = 3;
	CHECK(out);
	for (int i = 0; i < 3; i++)
		CHECK((in[i] = fdopen(fds[i], "r")));
	while (left) {
		left = 3;
		for (int i = 0; i < 3; i++) {
			if (fgets(line, sizeof(line), in[i]))
				fputs(line, out);
			else
				left--;
		}
		fflush(out);
	}
	fprintf(out, "done\n");
	CHECK(fclose(out) == 0);
}

int main(int argc, char **argv)
{
	int ends[3][2], in[3], status;
	pid_t own = getpid(), children[3];
	rounds = argc > 1 ? atol(argv[1]) : 100;
	for (int i = 0; i < 3; i++) {
		CHECK(pipe(ends[i]) == 0);
		in[i] = ends[i][0];
	}
	for (int k = 0; k < 3; k++) {
		children[k] = fork();
		CHECK(children[k] >= 0);
		if (children[k] > 0)
			continue;
		for (int i = 0; i < 3; i++)
			close(k == 2 || i != k ? ends[i][1] : ends[i][0]);
		if (k == 2)
			gather(in);
		else
			crowd(ends[k][1], 'a' + k);
		CHECK(getppid() == own);
		_exit(10 + k);
	}
	for (int i = 0; i < 3; i++)
		close(i == 2 ? ends[i][0] : ends[i][1]);
	crowd(ends[2][1], 'p');
	close(ends[2][1]);
	for (int k = 0; k < 3; k++) {
		CHECK(waitpid(children[k], &status, 0) == children[k]);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 10 + k);
	}
	CHECK(getpid() == own);
	return 0;
}
