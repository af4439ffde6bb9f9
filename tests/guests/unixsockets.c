/* Unix sockets by path and abstract name, stream, datagram and packets. */
#include "guest.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "socket" }, peer;
	socklen_t length = sizeof peer;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listener, (void *)&at, sizeof at) == 0 && listen(listener, 5) == 0);
	FAILS(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&at, sizeof at), EADDRINUSE);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 3; i++) {
			int s = socket(AF_UNIX, SOCK_STREAM, 0);
			CHECK(connect(s, (void *)&at, sizeof at) == 0);
			char text[16];
			int n = snprintf(text, sizeof text, "client %d", i);
			write_all(s, text, n);
			CHECK(shutdown(s, SHUT_WR) == 0);
			CHECK(recv(s, text, sizeof text, MSG_WAITALL) == 5);
			close(s);
		}
		_exit(0);
	}
	for (int i = 0; i < 3; i++) {
		int s = accept4(listener, (void *)&peer, &length, SOCK_CLOEXEC);
		CHECK(s >= 0);
		char text[32] = "";
		size_t n = 0;
		ssize_t got;
		while ((got = recv(s, text + n, sizeof text - n, 0)) > 0)
			n += got;
		say("%s\n", text);
		write_all(s, "reply", 5);
		close(s);
	}
	exited_with(child, 0);
	length = sizeof peer;
	CHECK(getsockname(listener, (void *)&peer, &length) == 0 && strcmp(peer.sun_path, "socket") == 0);
	struct sockaddr_un none = { .sun_family = AF_UNIX, .sun_path = "nobody" };
	FAILS(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&none, sizeof none), ENOENT);
	int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un hidden = { .sun_family = AF_UNIX };
	int tail = snprintf(hidden.sun_path + 1, 60, "chameleon-guest-%d", getpid());
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + tail;
	CHECK(bind(a, (void *)&hidden, size) == 0);
	CHECK(sendto(b, "hidden", 6, 0, (void *)&hidden, size) == 6);
	char text[16] = "";
	CHECK(recvfrom(a, text, sizeof text, MSG_PEEK, NULL, NULL) == 6);
	length = sizeof peer;
	CHECK(recvfrom(a, text, 3, MSG_TRUNC, (void *)&peer, &length) == 6);
	int packet[2];
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, packet) == 0);
	CHECK(send(packet[0], "abc", 3, MSG_EOR) == 3 && send(packet[0], "de", 2, 0) == 2);
	CHECK(recv(packet[1], text, 16, 0) == 3 && recv(packet[1], text, 16, 0) == 2);
	FAILS(recv(packet[1], text, 16, 0), EAGAIN);
	say("ok unixsockets\n");
	return 0;
}
