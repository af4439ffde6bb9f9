/* Writing to a pipe without reader: death by default, EPIPE when ignored, a handler when set. */
#include "guest.h"
#include <sys/socket.h>
static volatile int caught;
static void on(int signal) { caught += signal == SIGPIPE; }
int main(void)
{
	int ends[2];
	signal(SIGPIPE, SIG_DFL);
	CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
	pid_t child = fork();
	if (child == 0) {
		write(ends[1], "x", 1);
		_exit(1);
	}
	int status = reap(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
	signal(SIGPIPE, on);
	FAILS(write(ends[1], "x", 1), EPIPE);
	CHECK(caught == 1);
	signal(SIGPIPE, SIG_IGN);
	FAILS(write(ends[1], "x", 1), EPIPE);
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && close(pair[0]) == 0);
	FAILS(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	FAILS(write(pair[1], "x", 1), EPIPE);
	CHECK(caught == 1);
	say("ok sigpipes\n");
	return 0;
}
