/* Calls that carry megabytes at once: each does what it does natively, whole where that is whole. */
#include "guest.h"
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

enum { MB = 1000000, BIG = 10 * MB, FILE_SIZE = 8 * MB, WAITED = 5 * MB };

static unsigned char *big;

static void pair(int kind, int ends[2])
{
	CHECK(socketpair(AF_UNIX, kind, 0, ends) == 0);
}

/* A child that reads everything from `from` and ends with 0 if it is `times` times `big`. */
static pid_t reader(int from, int unused, int times)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child > 0) {
		CHECK(close(from) == 0);
		return child;
	}
	close(unused);
	unsigned char *got = malloc(BIG);
	for (int i = 0; i < times; i++) {
		memset(got, 0, BIG);
		read_all(from, got, BIG);
		CHECK(memcmp(got, big, BIG) == 0);
	}
	CHECK(read(from, got, 1) == 0);
	_exit(0);
}

/* A child that writes `big` to `to` in odd parts. */
static pid_t writer(int to, int unused)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child > 0) {
		CHECK(close(to) == 0);
		return child;
	}
	close(unused);
	for (int at = 0; at < BIG; at += 700001)
		write_all(to, big + at, BIG - at < 700001 ? BIG - at : 700001);
	_exit(0);
}

static void from_devices(void)
{
	unsigned char *bytes = calloc(4, 1 << 20);
	int fd = open("/dev/urandom", O_RDONLY);
	CHECK(read(fd, bytes, 4 << 20) == 4 << 20);
	uint64_t last;
	memcpy(&last, bytes + (4 << 20) - 8, 8);
	CHECK(last != 0);
	voted(bytes + (3 << 20), 4096);
	memset(bytes, 0, 4 << 20);
	CHECK(getrandom(bytes, 3 * MB, 0) == 3 * MB);
	memcpy(&last, bytes + 3 * MB - 8, 8);
	CHECK(last != 0);
	voted(bytes + 2 * MB, 4096);
	memcpy(&last, bytes + 3 * MB, 8);
	CHECK(last == 0);
	struct iovec parts[2] = { { bytes, 2 * MB }, { bytes + 2 * MB, 2 * MB } };
	CHECK(readv(fd, parts, 2) == 4 * MB);
	voted(bytes + 3 * MB, 4096);
	free(bytes);
	close(fd);
}

static void sent(int kind)
{
	int ends[2];
	if (kind)
		pair(kind, ends);
	else
		CHECK(pipe(ends) == 0);
	int from = ends[0], to = ends[1];
	pid_t child = reader(from, to, kind ? 4 : 2);
	struct iovec parts[3] = { { big, 3 }, { big + 3, BIG - 4 }, { big + BIG - 1, 1 } };
	CHECK(write(to, big, BIG) == BIG);
	CHECK(writev(to, parts, 3) == BIG);
	if (kind) {
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 3 };
		CHECK(send(to, big, BIG, 0) == BIG);
		CHECK(sendmsg(to, &message, 0) == BIG);
	}
	CHECK(close(to) == 0);
	exited_with(child, 0);
	say("sent\n");
}

static void received(void)
{
	int ends[2];
	unsigned char *got = calloc(1, BIG);
	pair(SOCK_STREAM, ends);
	pid_t child = writer(ends[1], ends[0]);
	CHECK(recv(ends[0], got, WAITED, MSG_WAITALL) == WAITED);
	struct iovec parts[2] = { { got + WAITED, 2 * MB + 1 },
				  { got + WAITED + 2 * MB + 1, BIG - WAITED - 2 * MB - 1 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	CHECK(recvmsg(ends[0], &message, MSG_WAITALL) == BIG - WAITED);
	CHECK(memcmp(got, big, BIG) == 0 && recv(ends[0], got, BIG, 0) == 0);
	close(ends[0]);
	exited_with(child, 0);
	free(got);
	say("received\n");
}

static void vectors(void)
{
	unsigned char *got = calloc(1, FILE_SIZE);
	int fd = open("long", O_CREAT | O_RDWR | O_TRUNC, 0644);
	struct iovec out[3] = { { big, 4 * MB }, { big + 4 * MB, 5 }, { big + 4 * MB + 5, 4 * MB - 5 } };
	struct iovec in[2] = { { got, 5 * MB - 1 }, { got + 5 * MB - 1, 3 * MB + 1 } };
	CHECK(writev(fd, out, 3) == FILE_SIZE && lseek(fd, 0, SEEK_CUR) == FILE_SIZE);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && readv(fd, in, 2) == FILE_SIZE);
	CHECK(memcmp(got, big, FILE_SIZE) == 0);
	memset(got, 0, FILE_SIZE);
	CHECK(pwritev(fd, out, 3, 77) == FILE_SIZE && preadv(fd, in, 2, 77) == FILE_SIZE);
	CHECK(memcmp(got, big, FILE_SIZE) == 0);
	/* Many small ones, together long. */
	struct iovec many[1000];
	for (int i = 0; i < 1000; i++)
		many[i] = (struct iovec){ got + i * 8000, 8000 };
	memset(got, 0, FILE_SIZE);
	CHECK(preadv(fd, many, 1000, 77) == FILE_SIZE && memcmp(got, big, FILE_SIZE) == 0);
	/* At the end of the file there is less than was asked for. */
	CHECK(preadv(fd, in, 2, 4 * MB) == 4 * MB + 77);
	CHECK(memcmp(got, big + 4 * MB - 77, 4 * MB + 77) == 0);
	FAILS(pwritev(fd, (struct iovec[]){ { (void *)16, 3 * MB } }, 1, 0), EFAULT);
	FAILS(preadv(-1, in, 2, 0), EBADF);
	CHECK(ftruncate(fd, 1000) == 0 && close(fd) == 0);
	free(got);
	say("vectors\n");
}

static void without_waiting(void)
{
	int ends[2];
	pair(SOCK_STREAM | SOCK_NONBLOCK, ends);
	ssize_t put = send(ends[0], big, BIG, 0);
	CHECK(put > 0 && put < BIG);
	unsigned char *got = malloc(BIG);
	size_t have = 0;
	ssize_t n;
	while ((n = recv(ends[1], got + have, BIG, 0)) > 0)
		have += n;
	CHECK(n == -1 && errno == EAGAIN && have == (size_t)put && memcmp(got, big, have) == 0);
	close(ends[1]);
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	FAILS(send(ends[0], big, BIG, 0), EPIPE);
	close(ends[0]);
	free(got);
}

static void datagrams(void)
{
	enum { SIZE = 1200000 };
	int ends[2], room = 4 * SIZE;
	pair(SOCK_DGRAM, ends);
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
	unsigned char *got = malloc(BIG);
	errno = 0;
	ssize_t put = send(ends[0], big, SIZE, 0);
	if (put < 0)
		CHECK(errno == EMSGSIZE || errno == ENOBUFS);
	else
		CHECK(put == SIZE && recv(ends[1], got, BIG, 0) == SIZE && !memcmp(got, big, SIZE));
	say("datagram %zd\n", put);
	errno = 0;
	CHECK(send(ends[0], big, BIG, 0) == -1 && errno == EMSGSIZE);
	close(ends[0]);
	close(ends[1]);
	free(got);
}

/* A descriptor goes with the first byte of a long message. */
static void passed(void)
{
	int ends[2], fds[2];
	pair(SOCK_STREAM, ends);
	CHECK(pipe(fds) == 0);
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { big, BIG };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof control };
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		close(ends[0]);
		close(fds[0]);
		close(fds[1]);
		unsigned char *got = calloc(1, BIG);
		part.iov_base = got;
		ssize_t n = recvmsg(ends[1], &message, 0);
		CHECK(n > 0);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		CHECK(c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS);
		int fd;
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
		read_all(ends[1], got + n, BIG - n);
		CHECK(memcmp(got, big, BIG) == 0);
		write_all(fd, "here", 4);
		_exit(0);
	}
	close(ends[1]);
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fds[1], sizeof(int));
	CHECK(sendmsg(ends[0], &message, 0) == BIG);
	close(fds[1]);
	char answer[5] = "";
	read_all(fds[0], answer, 4);
	say("passed: %s\n", answer);
	close(fds[0]);
	close(ends[0]);
	exited_with(child, 0);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
}

/* Nobody reads: the handler ends the call with what has been sent. The alarm comes again and again: one that
 * came before the call, on a machine with much to do, ends nothing. */
static void interrupted(void)
{
	int ends[2];
	pair(SOCK_STREAM, ends);
	struct sigaction action = { .sa_handler = on_alarm };
	struct timeval step = { .tv_usec = 150000 };
	struct itimerval often = { step, step }, off = { { 0, 0 }, { 0, 0 } };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	ssize_t put = send(ends[0], big, BIG, 0);
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	CHECK(put > 0 && put < BIG && alarms > 0);
	unsigned char *got = malloc(BIG);
	read_all(ends[1], got, put);
	CHECK(memcmp(got, big, put) == 0);
	FAILS(recv(ends[1], got, 1, MSG_DONTWAIT), EAGAIN);
	/* With part of it there, a receiver that waits for all is given the part. */
	CHECK(send(ends[0], big, 1000, 0) == 1000);
	alarms = 0;
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	CHECK(recv(ends[1], got, WAITED, MSG_WAITALL) == 1000);
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0 && alarms > 0);
	close(ends[0]);
	close(ends[1]);
	free(got);
	say("interrupted\n");
}

int main(void)
{
	big = sbrk(BIG); /* the heap, for injections */
	for (int i = 0; i < BIG; i++)
		big[i] = (unsigned)i * 2246822519u >> 23;
	from_devices();
	sent(SOCK_STREAM);
	sent(0);
	received();
	vectors();
	without_waiting();
	datagrams();
	passed();
	interrupted();
	say("%llx\n", (unsigned long long)sum(0, big, BIG));
	return 0;
}
