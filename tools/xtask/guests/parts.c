/* So many MiB of records, every STEP-th page of which is written to in each round, with a pause and a call
 * behind it: parts MIB STEP ROUNDS */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 64) << 20;
	size_t step = (size_t)(argc > 2 ? atoi(argv[2]) : 100) * 4096;
	int rounds = argc > 3 ? atoi(argv[3]) : 50;
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return 1;
	uint64_t noise = 1;
	for (size_t k = 0; k < size / 64; k++) {
		noise = noise * 6364136223846793005u + 1442695;
		uint64_t head[2] = {k, noise >> 16};
		memcpy(at + k * 64, head, 16);
		memcpy(at + k * 64 + 16, "user000000000042name the same text as in others.", 48);
	}
	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < size; i += step)
			memcpy(at + i, &round, sizeof round);
		usleep(50000);
		printf("%d\n", round);
		fflush(stdout);
	}
	return 0;
}
