/* What every guest shares: a check that says where it failed, output without a
 * buffer (so that a fork never prints twice), and `voted`, which sends bytes
 * that may differ from run to run to /dev/null: the call leaves the program
 * and is voted, but the output stays comparable with the native run's. */
#ifndef GUEST_H
#define GUEST_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define say(...) dprintf(1, __VA_ARGS__)

#define CHECK(what)                                                            \
	do {                                                                   \
		if (!(what)) {                                                 \
			dprintf(2, "%s:%d: failed: %s: %s\n", __FILE__,        \
				__LINE__, #what, strerror(errno));             \
			_exit(99);                                             \
		}                                                              \
	} while (0)

/* The call must fail with this errno. */
#define FAILS(what, code)                                                      \
	do {                                                                   \
		errno = 0;                                                     \
		long result_ = (long)(what);                                   \
		if (result_ != -1 || errno != (code)) {                        \
			dprintf(2, "%s:%d: %s gave %ld, errno %d, not %d\n",   \
				__FILE__, __LINE__, #what, result_, errno,     \
				(code));                                       \
			_exit(99);                                             \
		}                                                              \
	} while (0)

static inline void voted(const void *bytes, size_t length)
{
	static int sink = -1;
	if (sink < 0)
		sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (write(sink, bytes, length) != (ssize_t)length)
		_exit(98);
}

/* Waits for one child and returns its raw status. */
static inline int reap(pid_t child)
{
	int status = -1;
	pid_t got;
	while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR)
		;
	CHECK(got == child);
	return status;
}

static inline void exited_with(pid_t child, int code)
{
	int status = reap(child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code) {
		dprintf(2, "child status %#x, wanted exit %d\n", status, code);
		_exit(99);
	}
}

/* Reads exactly this many bytes, or fails. */
static inline void read_all(int fd, void *to, size_t length)
{
	char *at = to;
	while (length > 0) {
		ssize_t got = read(fd, at, length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			dprintf(2, "read of %zu gave %zd\n", length, got);
			_exit(99);
		}
		at += got;
		length -= got;
	}
}

static inline void write_all(int fd, const void *from, size_t length)
{
	const char *at = from;
	while (length > 0) {
		ssize_t put = write(fd, at, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0) {
			dprintf(2, "write of %zu gave %zd\n", length, put);
			_exit(99);
		}
		at += put;
		length -= put;
	}
}

/* Microseconds of sleep, unless there is a file `hurry` here: time to be killed in, which is of no use to a run
 * that nobody kills. */
static inline void pause_unless_hurried(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };
	if (access("hurry", F_OK) == 0)
		return;
	while (nanosleep(&t, &t) < 0)
		CHECK(errno == EINTR);
}

/* A check sum that notices order (FNV-1a). */
static inline uint64_t sum(uint64_t seed, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t hash = seed ? seed : 1469598103934665603ull;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ at[i]) * 1099511628211ull;
	return hash;
}
#endif
