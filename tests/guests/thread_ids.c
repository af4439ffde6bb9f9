/* Who a thread is: its id and its process's, what /proc and the signals know of
 * it, its name, and its clock of CPU time. */
#include "threads.h"
enum { THREADS = 5 };
static pthread_barrier_t together;
static pid_t tids[THREADS + 1];
/* How many threads there are. Some may be on their way out, and gone before their directory is
 * looked into. */
static int tasks(int leaving)
{
	int count = 0;
	char path[300];
	DIR *directory = opendir("/proc/self/task");
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (entry->d_name[0] == '.')
			continue;
		int known = 0;
		for (int i = 0; i <= THREADS; i++)
			known += atoi(entry->d_name) == tids[i];
		snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
		CHECK(known <= 1 && (access(path, R_OK) == 0 || (leaving && errno == ENOENT)));
		count++;
	}
	closedir(directory);
	return count;
}
static void *lives(void *number)
{
	long me = (long)number;
	char name[16], got[16], path[64];
	struct timespec before, after;
	tids[me] = gettid();
	CHECK(getpid() == tids[THREADS] && syscall(SYS_gettid) == gettid());
	snprintf(name, sizeof name, "guest-%ld", me);
	OK(pthread_setname_np(pthread_self(), name));
	pthread_barrier_wait(&together);
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before) == 0);
	for (volatile int i = 0; i < 2000000; i++)
		;
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after) == 0);
	CHECK(after.tv_sec * 1000000000 + after.tv_nsec > before.tv_sec * 1000000000 + before.tv_nsec);
	OK(pthread_getname_np(pthread_self(), got, sizeof got));
	snprintf(path, sizeof path, "/proc/thread-self/comm");
	int fd = open(path, O_RDONLY);
	ssize_t length = read(fd, path, sizeof path);
	CHECK(strcmp(name, got) == 0 && length == (ssize_t)strlen(name) + 1 && memcmp(path, name, length - 1) == 0);
	close(fd);
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	return number;
}
int main(void)
{
	pthread_t threads[THREADS];
	pid_t pid = getpid();
	clockid_t clock;
	struct timespec first, second;
	tids[THREADS] = gettid();
	CHECK(gettid() == pid && tasks(0) == 1);
	OK(pthread_barrier_init(&together, NULL, THREADS + 1));
	for (long i = 0; i < THREADS; i++)
		threads[i] = begin(lives, (void *)i);
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	for (int i = 0; i < THREADS; i++) {
		CHECK(tids[i] > 0 && tids[i] != pid);
		for (int j = 0; j < i; j++)
			CHECK(tids[i] != tids[j]);
		CHECK(kill(tids[i], 0) == 0 && syscall(SYS_tgkill, pid, tids[i], 0) == 0);
		CHECK(syscall(SYS_tkill, tids[i], 0) == 0);
		FAILS(syscall(SYS_tgkill, tids[i], tids[i], 0), ESRCH);
		OK(pthread_kill(threads[i], 0));
		OK(pthread_getcpuclockid(threads[i], &clock));
		CHECK(clock_gettime(clock, &first) == 0 && first.tv_sec * 1000000000 + first.tv_nsec > 0);
		CHECK(clock_gettime(clock, &second) == 0);
		CHECK(second.tv_sec > first.tv_sec || second.tv_nsec >= first.tv_nsec);
	}
	FAILS(syscall(SYS_tgkill, 0, pid, 0), EINVAL);
	FAILS(syscall(SYS_tgkill, pid, -1, 0), EINVAL);
	FAILS(syscall(SYS_tgkill, pid, pid, 65), EINVAL);
	say("threads %d\n", tasks(0));
	pthread_barrier_wait(&together);
	for (int i = 0; i < THREADS; i++)
		ended(threads[i]);
	/* Joined is a moment before gone. */
	while (tasks(1) != 1)
		usleep(500);
	FAILS(syscall(SYS_tgkill, pid, tids[0], 0), ESRCH);
	FAILS(kill(tids[0], 0), ESRCH);
	say("ok thread_ids\n");
	return 0;
}
