/* epoll: level, edge, one shot, data as pointer and number, nested, timeouts. */
#include "guest.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
int main(void)
{
	int ends[2], ep = epoll_create1(EPOLL_CLOEXEC), tick = eventfd(0, EFD_NONBLOCK);
	struct epoll_event got[8];
	CHECK(ep >= 0 && pipe2(ends, O_NONBLOCK) == 0);
	static int marker;
	struct epoll_event pipe_in = { EPOLLIN, { .ptr = &marker } }, event_in = { EPOLLIN | EPOLLET, { .u64 = 0x1122334455667788 } };
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, ends[0], &pipe_in) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, tick, &event_in) == 0);
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, tick, &event_in), EEXIST);
	CHECK(epoll_wait(ep, got, 8, 0) == 0 && epoll_wait(ep, got, 8, 20) == 0);
	write_all(ends[1], "xy", 2);
	CHECK(epoll_wait(ep, got, 8, -1) == 1 && got[0].data.ptr == &marker && got[0].events == EPOLLIN);
	CHECK(epoll_wait(ep, got, 8, 0) == 1);
	uint64_t one = 1;
	CHECK(write(tick, &one, 8) == 8);
	CHECK(epoll_wait(ep, got, 8, 1000) == 2);
	CHECK(epoll_wait(ep, got, 8, 0) == 1);
	char c[2];
	read_all(ends[0], c, 2);
	CHECK(epoll_wait(ep, got, 8, 0) == 0);
	event_in.events = EPOLLIN | EPOLLONESHOT;
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, tick, &event_in) == 0);
	CHECK(epoll_wait(ep, got, 8, 0) == 1 && got[0].data.u64 == 0x1122334455667788);
	CHECK(epoll_wait(ep, got, 8, 0) == 0);
	pid_t child = fork();
	if (child == 0) {
		usleep(30000);
		close(ends[0]);
		write_all(ends[1], "z", 1);
		_exit(0);
	}
	sigset_t set;
	sigemptyset(&set);
	CHECK(epoll_pwait(ep, got, 8, 10000, &set) == 1 && got[0].data.ptr == &marker);
	exited_with(child, 0);
	int outer = epoll_create(1);
	struct epoll_event nested = { EPOLLIN, { .fd = ep } };
	CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &nested) == 0);
	CHECK(epoll_wait(outer, got, 8, 0) == 1 && got[0].data.fd == ep);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, ends[0], NULL) == 0 && epoll_wait(outer, got, 8, 0) == 0);
	FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, 999, NULL), EBADF);
	say("ok epolls\n");
	return 0;
}
