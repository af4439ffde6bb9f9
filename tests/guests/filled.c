/* So many MiB of memory, all of it written, a part of it written again before each call; prints
 * check sums. Arguments: MiB, rounds. */
#include "guest.h"
int main(int argc, char **argv)
{
	size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 16) << 20;
	int rounds = argc > 2 ? atoi(argv[2]) : 50;
	uint64_t *memory = malloc(size), hash = 0, words = size / 8;
	CHECK(memory != NULL);
	for (uint64_t i = 0; i < words; i++)
		memory[i] = i * 0x9e3779b97f4a7c15ull;
	for (int round = 0; round < rounds; round++) {
		for (uint64_t i = round; i < words; i += 509)
			memory[i] = memory[i] * 31 + round;
		hash = sum(hash, memory + words / rounds * round, 4096);
		say("%d %llx\n", round, (unsigned long long)hash);
	}
	for (uint64_t i = 0; i < words; i++)
		hash = hash * 31 + memory[i];
	say("all %llx\n", (unsigned long long)hash);
	return 0;
}
