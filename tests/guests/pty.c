/* A pseudo-terminal: raw and cooked, window size, foreground group, ^C to a child. */
#include "guest.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
int main(void)
{
	int master, slave;
	char name[64], text[128] = "";
	struct winsize size = { 33, 99, 0, 0 }, seen;
	struct termios mode;
	CHECK(openpty(&master, &slave, name, NULL, &size) == 0);
	CHECK(isatty(slave) && strncmp(name, "/dev/pts/", 9) == 0 && strcmp(ttyname(slave), name) == 0);
	CHECK(ioctl(slave, TIOCGWINSZ, &seen) == 0);
	say("%d x %d\n", seen.ws_col, seen.ws_row);
	CHECK(write(master, "line\n", 5) == 5);
	ssize_t got = read(slave, text, sizeof text);
	CHECK(got == 5 && memcmp(text, "line\n", 5) == 0);
	got = read(master, text, sizeof text);
	CHECK(got == 6 && memcmp(text, "line\r\n", 6) == 0);
	CHECK(tcgetattr(slave, &mode) == 0);
	voted(&mode, sizeof mode);
	cfmakeraw(&mode);
	CHECK(tcsetattr(slave, TCSANOW, &mode) == 0);
	CHECK(write(master, "raw", 3) == 3 && read(slave, text, 10) == 3);
	close(slave);
	close(master);

	pid_t child = forkpty(&master, NULL, NULL, &size);
	CHECK(child >= 0);
	if (child == 0) {
		CHECK(tcgetpgrp(0) == getpgrp() && getsid(0) == getpid());
		write_all(1, "go\n", 3);
		for (;;)
			pause();
	}
	read_all(master, text, 4);
	CHECK(write(master, "\003", 1) == 1);
	int status = reap(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
	child = forkpty(&master, NULL, NULL, &size);
	if (child == 0)
		execlp("sh", "sh", "-c", "stty size; tty >/dev/null && echo terminal", NULL);
	size_t length = 0;
	while ((got = read(master, text + length, sizeof text - 1 - length)) > 0)
		length += got;
	CHECK(errno == EIO);
	text[length] = 0;
	exited_with(child, 0);
	say("%s", text);
	return 0;
}
