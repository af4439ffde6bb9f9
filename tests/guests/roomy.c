/* roomy SIZE COUNT: gets a hundred bytes through a pipe, so often, each time with room for SIZE. */
#include "guest.h"

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	size_t size = strtoul(argv[1], NULL, 0);
	char *room = malloc(size), sent[100];
	int ends[2];
	unsigned long sum = 0;
	CHECK(room && pipe(ends) == 0);
	for (long i = 0; i < atol(argv[2]); i++) {
		memset(sent, (int)i, sizeof sent);
		CHECK(write(ends[1], sent, sizeof sent) == sizeof sent);
		CHECK(read(ends[0], room, size) == sizeof sent);
		CHECK(memcmp(room, sent, sizeof sent) == 0);
		sum = sum * 31 + (unsigned char)room[99];
	}
	say("ok roomy %lu\n", sum);
	return 0;
}
