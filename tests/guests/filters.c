/* A program for packets, attached to a socket by SO_ATTACH_FILTER: what it lets
 * through, what it cuts, a locked one, and values that are none. */
#include "guest.h"
#include <linux/filter.h>
#include <sys/socket.h>
static int attach(int fd, struct sock_filter *code, int length)
{
	struct sock_fprog program = { .len = length, .filter = code };
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}
static void try(int to, int from, const char *what)
{
	char got[16] = "";
	CHECK(send(to, "abcdef", 6, 0) == 6 || errno == EPERM);
	ssize_t n = recv(from, got, sizeof got - 1, MSG_DONTWAIT);
	say("%s: %zd %s\n", what, n, got);
}
int main(void)
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, 0xffff) };
	struct sock_filter none[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_filter first_is_b[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'b', 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 3),
	};
	int pair[2], off = 0, on = 1;
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	try(pair[0], pair[1], "without");
	CHECK(attach(pair[1], all, 1) == 0);
	try(pair[0], pair[1], "all");
	CHECK(attach(pair[1], none, 1) == 0);
	try(pair[0], pair[1], "none");
	CHECK(attach(pair[1], first_is_b, 4) == 0);
	try(pair[0], pair[1], "cut");
	CHECK(setsockopt(pair[1], SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof off) == 0);
	try(pair[0], pair[1], "detached");
	FAILS(attach(pair[1], all, 0), EINVAL);
	FAILS(attach(pair[1], NULL, 1), EINVAL);
	FAILS(attach(pair[1], (void *)8, 1), EFAULT);
	FAILS(attach(pair[1], first_is_b, 1), EINVAL);
	FAILS(attach(-1, all, 1), EBADF);
	CHECK(attach(pair[1], all, 1) == 0);
	CHECK(setsockopt(pair[1], SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) == 0);
	FAILS(attach(pair[1], none, 1), EPERM);
	try(pair[0], pair[1], "locked");
	return 0;
}
