/* A read broken by a signal: EINTR without SA_RESTART, unnoticed with it. */
#include "guest.h"
static volatile int caught;
static void on(int signal) { caught += signal == SIGUSR1; }
static void once(int flags, int expect_break)
{
	struct sigaction action = { .sa_handler = on, .sa_flags = flags };
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	int data[2], back[2];
	CHECK(pipe(data) == 0 && pipe(back) == 0);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		char state = 0, path[64], text[512], c;
		snprintf(path, sizeof path, "/proc/%d/stat", parent);
		/* Wait until the parent sleeps in its read. */
		for (int tries = 0; tries < 400 && state != 'S'; tries++) {
			int fd = open(path, O_RDONLY);
			ssize_t got = read(fd, text, sizeof text - 1);
			close(fd);
			text[got > 0 ? got : 0] = 0;
			state = strrchr(text, ')') ? strrchr(text, ')')[2] : 0;
			usleep(10000);
		}
		usleep(100000);
		kill(parent, SIGUSR1);
		if (expect_break)
			read_all(back[0], &c, 1);
		else
			usleep(100000);
		write_all(data[1], "x", 1);
		_exit(0);
	}
	char c = 0;
	int before = caught;
	ssize_t got = read(data[0], &c, 1);
	int code = errno;
	CHECK(caught == before + 1);
	if (expect_break) {
		CHECK(got == -1 && code == EINTR);
		write_all(back[1], "b", 1);
		read_all(data[0], &c, 1);
	}
	CHECK(c == 'x');
	exited_with(child, 0);
}
int main(void)
{
	once(0, 1);
	once(SA_RESTART, 0);
	once(0, 1);
	say("ok restart\n");
	return 0;
}
