/* Threads that wait in calls of every kind at once while others compute; each is
 * woken by what it waits for, and the rest waits on. */
#include "threads.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
enum { KINDS = 9 };
static int in[KINDS], out[KINDS];
static atomic_int ready[KINDS], got[KINDS];
static uint64_t computed[2];
static struct sockaddr_in here = { .sin_family = AF_INET };
static int byte(int fd)
{
	unsigned char is = 0;
	CHECK(read(fd, &is, 1) == 1);
	return is;
}
static void *waits(void *number)
{
	long me = (long)number;
	struct pollfd one = { .fd = in[me], .events = POLLIN };
	struct epoll_event event = { .events = EPOLLIN, .data.fd = in[me] };
	struct timespec brief = { 0, 30000000 };
	int fd, epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t count;
	fd_set set;
	ready[me] = gettid();
	switch (me) {
	case 0: got[me] = byte(in[me]); break;
	case 1: CHECK(poll(&one, 1, -1) == 1); got[me] = byte(in[me]); break;
	case 2:
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, in[me], &event) == 0);
		CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
		got[me] = byte(event.data.fd);
		break;
	case 3: CHECK(read(in[me], &count, 8) == 8); got[me] = (int)count; break;
	case 4:
		CHECK((fd = accept(in[me], NULL, NULL)) >= 0);
		got[me] = byte(fd);
		close(fd);
		break;
	case 5: CHECK(recv(in[me], &(char){ 0 }, 1, MSG_WAITALL) == 1); got[me] = 'f'; break;
	case 6:
		FD_ZERO(&set);
		FD_SET(in[me], &set);
		CHECK(select(in[me] + 1, &set, NULL, NULL, NULL) == 1);
		got[me] = byte(in[me]);
		break;
	case 7: CHECK(nanosleep(&brief, NULL) == 0); got[me] = 'h'; break;
	default: CHECK(poll(&one, 1, 30) == 0); got[me] = 'i';
	}
	close(epoll);
	return number;
}
static void *computes(void *number)
{
	for (int i = 0; i < 3000000; i++)
		computed[(long)number] = computed[(long)number] * 6364136223846793005u + 1;
	return number;
}
static void open_all(void)
{
	socklen_t size = sizeof here;
	int ends[2];
	for (int i = 0; i < KINDS; i++) {
		CHECK((i == 5 ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends)) == 0);
		in[i] = ends[0];
		out[i] = ends[1];
	}
	CHECK((in[3] = out[3] = eventfd(0, 0)) >= 0);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK((in[4] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(bind(in[4], (struct sockaddr *)&here, size) == 0 && listen(in[4], 5) == 0);
	CHECK(getsockname(in[4], (struct sockaddr *)&here, &size) == 0);
	CHECK((out[4] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
}
int main(void)
{
	pthread_t threads[KINDS], computing[2];
	open_all();
	for (long i = 0; i < KINDS; i++)
		threads[i] = begin(waits, (void *)i);
	for (long i = 0; i < 2; i++)
		computing[i] = begin(computes, (void *)i);
	for (int i = 0; i < 7; i++)
		asleep(&ready[i]);
	for (int i = KINDS - 1; i >= 0; i--) {
		uint64_t count = 'd';
		char what = (char)('a' + i);
		for (int j = 0; j < i && j < 7; j++)
			CHECK(got[j] == 0);
		if (i == 4)
			CHECK(connect(out[i], (struct sockaddr *)&here, sizeof here) == 0);
		if (i < 7)
			write_all(out[i], i == 3 ? (void *)&count : &what, i == 3 ? 8 : 1);
		CHECK(ended(threads[i]) == (void *)(long)i);
		say("%d: %c\n", i, got[i]);
	}
	for (int i = 0; i < 2; i++)
		ended(computing[i]);
	say("computed %016lx %016lx\n", computed[0], computed[1]);
	return 0;
}
