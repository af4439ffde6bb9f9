/* Named pipes: open waits for the other side, in both directions. */
#include "guest.h"
int main(void)
{
	CHECK(mkfifo("up", 0600) == 0 && mkfifo("down", 0600) == 0);
	FAILS(mkfifo("up", 0600), EEXIST);
	FAILS(open("up", O_WRONLY | O_NONBLOCK), ENXIO);
	pid_t child = fork();
	if (child == 0) {
		int in = open("down", O_RDONLY), out = open("up", O_WRONLY);
		char text[64];
		ssize_t got;
		while ((got = read(in, text, sizeof text)) > 0) {
			for (ssize_t i = 0; i < got; i++)
				text[i] ^= 0x20;
			write_all(out, text, got);
		}
		_exit(0);
	}
	int out = open("down", O_WRONLY), in = open("up", O_RDONLY);
	CHECK(out >= 0 && in >= 0);
	for (int i = 0; i < 20; i++) {
		char text[6] = "fifoX", back[6] = "";
		text[4] = 'a' + i;
		write_all(out, text, 5);
		read_all(in, back, 5);
		if (i % 5 == 0)
			say("%s\n", back);
	}
	close(out);
	char c;
	CHECK(read(in, &c, 1) == 0);
	exited_with(child, 0);
	return 0;
}
