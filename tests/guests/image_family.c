/* Memory that several processes share: anonymous memory with a lock, a condition and a counter over forks, a memfd
 * that each maps, whose descriptor one has without mapping it, and a file that two processes map by its name. One of the
 * children has a thread. What `out` and `out.file` hold at the end does not depend on who was fast.
 * image_family ROUNDS */
#include "threads.h"
#include <sys/mman.h>
#include <sys/wait.h>

enum { KIDS = 3, LEN = 16 << 10 };

struct common {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	long turn;
	unsigned char bytes[LEN];
};

static struct common *common;
static unsigned char *memory;
static long rounds;
static int out;

static void doze(long us)
{
	struct timespec t = { .tv_nsec = us * 1000 };
	while (nanosleep(&t, &t) < 0)
		CHECK(errno == EINTR);
}

static void *map(int fd, int length)
{
	int kind = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, kind, fd, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

/* A thread of one of them, which waits for the condition of all. */
static void *watch(void *with)
{
	long seen = 0;
	OK(pthread_mutex_lock(&common->lock));
	while (common->turn < rounds * KIDS) {
		OK(pthread_cond_wait(&common->moved, &common->lock));
		CHECK(common->turn >= seen);
		seen = common->turn;
	}
	OK(pthread_mutex_unlock(&common->lock));
	return with;
}

static void kid(long i, pid_t parent)
{
	pthread_t thread = 0;
	unsigned char *file = NULL;
	pid_t own = getpid();
	if (i == 0)
		thread = begin(watch, NULL);
	if (i > 0) {
		int f = open("out.file", O_RDWR);
		CHECK(f >= 0);
		file = map(f, LEN);
		close(f);
	}
	for (long n = 0; n < rounds; n++) {
		OK(pthread_mutex_lock(&common->lock));
		while (common->turn % KIDS != i)
			OK(pthread_cond_wait(&common->moved, &common->lock));
		common->bytes[common->turn % LEN] += n + i;
		memory[(n * 37 + i) % LEN] += common->bytes[n % LEN];
		if (file)
			file[(n * 2 + i - 1) % LEN] += n + file[(n * 2) % LEN];
		dprintf(out, "%ld %ld %d\n", n, i, memory[(n * 37) % LEN]);
		common->turn++;
		OK(pthread_cond_broadcast(&common->moved));
		OK(pthread_mutex_unlock(&common->lock));
		doze(8000);
		CHECK(getpid() == own && getppid() == parent);
	}
	if (i == 0)
		CHECK(ended(thread) == NULL);
}

#define total(at) ((unsigned)sum(1, at, LEN))

int main(int argc, char **argv)
{
	pthread_mutexattr_t locks;
	pthread_condattr_t conditions;
	pid_t own = getpid(), kids[KIDS];
	int status;
	rounds = argc > 1 ? atol(argv[1]) : 100;
	common = map(-1, sizeof(*common));
	OK(pthread_mutexattr_init(&locks));
	OK(pthread_mutexattr_setpshared(&locks, PTHREAD_PROCESS_SHARED));
	OK(pthread_mutex_init(&common->lock, &locks));
	OK(pthread_condattr_init(&conditions));
	OK(pthread_condattr_setpshared(&conditions, PTHREAD_PROCESS_SHARED));
	OK(pthread_cond_init(&common->moved, &conditions));
	int fd = memfd_create("common", 0);
	CHECK(fd >= 0 && ftruncate(fd, LEN) == 0);
	out = open("out", O_CREAT | O_WRONLY | O_TRUNC | O_APPEND, 0644);
	int f = open("out.file", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(out >= 0 && f >= 0 && ftruncate(f, LEN) == 0);
	close(f);
	for (long i = 0; i < KIDS; i++) {
		kids[i] = fork();
		CHECK(kids[i] >= 0);
		if (kids[i] == 0) {
			memory = map(fd, LEN);
			close(fd);
			kid(i, own);
			_exit(20 + i);
		}
	}
	for (int i = 0; i < KIDS; i++) {
		CHECK(waitpid(kids[i], &status, 0) == kids[i]);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 20 + i);
	}
	unsigned char bytes[LEN];
	CHECK(pread(fd, bytes, LEN, 0) == LEN);
	dprintf(out, "%u %u %ld\n", total(common->bytes), total(bytes), common->turn);
	dprintf(out, "done\n");
	return 0;
}
