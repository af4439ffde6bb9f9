/* poll, ppoll, select and pselect: readiness, timeouts, masks, broken calls. */
#include "guest.h"
#include <poll.h>
#include <sys/select.h>
static volatile int caught;
static void on(int signal) { caught += signal == SIGUSR1; }
int main(void)
{
	int ends[2];
	char c;
	CHECK(pipe(ends) == 0);
	struct pollfd list[3] = { { ends[0], POLLIN, 0 }, { ends[1], POLLOUT, 0 }, { -1, POLLIN, 7 } };
	CHECK(poll(list, 3, 0) == 1 && list[0].revents == 0 && list[1].revents == POLLOUT && list[2].revents == 0);
	CHECK(poll(list, 1, 20) == 0 && poll(NULL, 0, 10) == 0);
	list[2].fd = 777;
	CHECK(poll(list, 3, -1) == 2 && list[2].revents == POLLNVAL);
	fd_set in, out;
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(ends[0], &in);
	FD_SET(ends[1], &out);
	struct timeval wait = { 0, 10000 };
	CHECK(select(ends[1] + 1, &in, &out, NULL, &wait) == 1 && !FD_ISSET(ends[0], &in) && FD_ISSET(ends[1], &out));
	FD_SET(ends[0], &in);
	wait = (struct timeval){ 0, 10000 };
	CHECK(select(ends[1] + 1, &in, NULL, NULL, &wait) == 0 && wait.tv_sec == 0 && wait.tv_usec == 0);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		usleep(30000);
		write_all(ends[1], "1", 1);
		_exit(0);
	}
	FD_SET(ends[0], &in);
	wait = (struct timeval){ 60, 0 };
	CHECK(select(ends[0] + 1, &in, NULL, NULL, &wait) == 1 && wait.tv_sec < 60);
	voted(&wait, sizeof wait);
	CHECK(read(ends[0], &c, 1) == 1);
	exited_with(child, 0);
	/* A signal held by the mask breaks exactly the masked wait. */
	struct sigaction action = { .sa_handler = on, .sa_flags = SA_RESTART };
	sigset_t block, open;
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigprocmask(SIG_BLOCK, &block, &open) == 0);
	struct timespec lots = { 60, 0 };
	for (int round = 0; round < 2; round++) {
		child = fork();
		if (child == 0) {
			usleep(30000);
			kill(parent, SIGUSR1);
			_exit(0);
		}
		CHECK(caught == round);
		if (round == 0) {
			FAILS(ppoll(list, 1, &lots, &open), EINTR);
		} else {
			FD_SET(ends[0], &in);
			FAILS(pselect(ends[0] + 1, &in, NULL, NULL, &lots, &open), EINTR);
		}
		CHECK(caught == round + 1);
		exited_with(child, 0);
	}
	close(ends[1]);
	CHECK(poll(list, 1, -1) == 1 && list[0].revents == POLLHUP);
	say("ok polls\n");
	return 0;
}
