/* TCP over loopback between parent and child, with options and names. */
#include "guest.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
static uint64_t pump(int from)
{
	static char block[70000];
	uint64_t hash = 0;
	ssize_t got;
	while ((got = recv(from, block, sizeof block, 0)) > 0)
		hash = sum(hash, block, got);
	CHECK(got == 0);
	return hash;
}
int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, peer;
	socklen_t length = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
	CHECK(bind(listener, (void *)&at, sizeof at) == 0 && listen(listener, 3) == 0);
	CHECK(getsockname(listener, (void *)&at, &length) == 0 && at.sin_port != 0);
	voted(&at, sizeof at);
	enum { SIZE = 5000000 };
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		close(listener);
		int s = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(s, (void *)&at, sizeof at) == 0);
		CHECK(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
		char *big = malloc(SIZE);
		for (int i = 0; i < SIZE; i++)
			big[i] = i % 251;
		write_all(s, big, SIZE);
		CHECK(shutdown(s, SHUT_WR) == 0);
		uint64_t hash;
		CHECK(recv(s, &hash, 8, MSG_WAITALL) == 8);
		_exit(hash == sum(0, big, SIZE) ? 0 : 1);
	}
	length = sizeof peer;
	int s = accept(listener, (void *)&peer, &length);
	CHECK(s >= 0 && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	voted(&peer, sizeof peer);
	uint64_t hash = pump(s);
	write_all(s, &hash, 8);
	exited_with(child, 0);
	say("%llx\n", (unsigned long long)hash);
	close(s);
	close(listener);
	FAILS(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&at, sizeof at), ECONNREFUSED);
	int again = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), kind;
	length = sizeof kind;
	CHECK(getsockopt(again, SOL_SOCKET, SO_TYPE, &kind, &length) == 0 && kind == SOCK_STREAM);
	FAILS(recv(again, &kind, 1, 0), ENOTCONN);
	say("ok tcp\n");
	return 0;
}
