/* A TCP echo server of one thread: writes its port to the file "port", serves connections with
 * poll(2) and ends when as many as its argument says have been closed. Prints how many bytes it
 * has echoed. */
#include "guest.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#define MOST 16
int main(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : 1, n = 1;
	struct pollfd all[MOST + 1];
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof at;
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(server >= 0 && bind(server, (void *)&at, size) == 0 && listen(server, MOST) == 0);
	CHECK(getsockname(server, (void *)&at, &size) == 0);
	char text[16];
	int fd = open("port.new", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	write_all(fd, text, snprintf(text, sizeof text, "%d\n", ntohs(at.sin_port)));
	CHECK(close(fd) == 0 && rename("port.new", "port") == 0);
	all[0] = (struct pollfd){ .fd = server, .events = POLLIN };
	uint64_t bytes = 0;
	while (left > 0) {
		CHECK(poll(all, n, -1) > 0);
		for (int i = n - 1; i > 0; i--) {
			static char buffer[1 << 16];
			if (!all[i].revents)
				continue;
			ssize_t got = read(all[i].fd, buffer, sizeof buffer);
			CHECK(got >= 0);
			if (got > 0) {
				write_all(all[i].fd, buffer, got);
				bytes += got;
				continue;
			}
			close(all[i].fd);
			all[i] = all[--n];
			left--;
		}
		if (all[0].revents && n <= MOST) {
			int client = accept(server, NULL, NULL);
			CHECK(client >= 0);
			all[n++] = (struct pollfd){ .fd = client, .events = POLLIN };
		}
	}
	unlink("port");
	say("echoed %llu\n", (unsigned long long)bytes);
	return 0;
}
