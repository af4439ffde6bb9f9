/* Writes a line every few milliseconds to a file and to a pipe of its own: something to
 * interrupt at any moment. Arguments: number of lines, milliseconds between. */
#include "guest.h"
int main(int argc, char **argv)
{
	int lines = argc > 1 ? atoi(argv[1]) : 300, gap = argc > 2 ? atoi(argv[2]) : 5, ends[2];
	int fd = open("ticks", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	uint64_t hash = 0;
	CHECK(fd >= 0 && pipe(ends) == 0);
	for (int i = 0; i < lines; i++) {
		char line[64];
		int n = snprintf(line, sizeof line, "%d %llx\n", i, (unsigned long long)hash);
		write_all(fd, line, n);
		write_all(ends[1], line, n);
		read_all(ends[0], line, n);
		hash = sum(hash, line, n);
		write_all(1, line, n);
		if (gap)
			usleep(gap * 1000);
	}
	say("end\n");
	return 5; /* a status of its own */
}
