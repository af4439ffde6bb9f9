/* Looks after a table of its own: when a byte of it is wrong it aborts, spins for ever or follows a
 * pointer to nowhere. Arguments: how ("abort", "spin", "null"), rounds, how many rounds between two
 * looks, and a round at which it does so in any case (never without one). */
#include "guest.h"
static unsigned char table[1 << 16] = { 1 };
static volatile int forever = 1;
static void fails(const char *how)
{
	if (strcmp(how, "abort") == 0)
		abort();
	while (strcmp(how, "spin") == 0 && forever)
		;
	*(volatile int *)NULL = 1;
}
int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "abort";
	int rounds = argc > 2 ? atoi(argv[2]) : 100, every = argc > 3 ? atoi(argv[3]) : 1;
	int bug = argc > 4 ? atoi(argv[4]) : -1, fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
	CHECK(fd >= 0);
	memset(table, 0x5a, sizeof table);
	for (int i = 0; i < rounds; i++) {
		if (i % every == 0)
			for (size_t at = 0; at < sizeof table; at++)
				if (table[at] != 0x5a)
					fails(how);
		char line[32];
		write_all(fd, line, snprintf(line, sizeof line, "line %d\n", i));
		say("%d\n", i);
		if (i == bug)
			fails(how);
	}
	return 3;
}
