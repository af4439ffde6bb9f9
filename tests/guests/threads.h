/* What the guests of threads share: a thread begun and ended, pthread calls
 * that give their error, a moment from now, and a wait for another's sleep,
 * which makes the case wanted likely and never decides a result. */
#ifndef THREADS_H
#define THREADS_H
#include "guest.h"
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* The call must give this error, 0 for none. */
#define GIVES(what, code)                                                      \
	do {                                                                   \
		int gave_ = (what);                                            \
		if (gave_ != (code)) {                                         \
			dprintf(2, "%s:%d: %s gave %d, not %d\n", __FILE__,    \
				__LINE__, #what, gave_, (code));               \
			_exit(99);                                             \
		}                                                              \
	} while (0)
#define OK(what) GIVES(what, 0)

static inline pthread_t begin(void *(*run)(void *), void *with)
{
	pthread_t thread;
	OK(pthread_create(&thread, NULL, run, with));
	return thread;
}

static inline void *ended(pthread_t thread)
{
	void *result;
	OK(pthread_join(thread, &result));
	return result;
}

/* As many threads of the same function, each with its number, and their end. */
static inline void all(int count, void *(*run)(void *))
{
	pthread_t threads[count];
	for (long i = 0; i < count; i++)
		threads[i] = begin(run, (void *)i);
	for (long i = 0; i < count; i++)
		CHECK(ended(threads[i]) == (void *)i);
}

static inline struct timespec from_now(clockid_t clock, int milliseconds)
{
	struct timespec at;
	CHECK(clock_gettime(clock, &at) == 0);
	at.tv_nsec += milliseconds % 1000 * 1000000l;
	at.tv_sec += milliseconds / 1000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

/* Until it is not 0. */
static inline void await(atomic_int *flag)
{
	while (!atomic_load(flag))
		usleep(500);
}

/* Until that thread sleeps, for a second at most. */
static inline void asleep(atomic_int *thread)
{
	char path[64], text[512];
	await(thread);
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", *thread);
	for (int tries = 0; tries < 200; tries++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		close(fd);
		text[got > 0 ? got : 0] = 0;
		char *name = strrchr(text, ')');
		if (name && name[2] == 'S')
			return;
		usleep(5000);
	}
}

/* How many threads the process has. */
static inline int thread_count(void)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/task");
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}
#endif
