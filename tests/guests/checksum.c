/* State on the heap, on the stack and in data decides each line that is written: a
 * fault in any of them shows. Argument: number of rounds (default 60). */
#include "guest.h"
static uint64_t data[512] = { 1 };
int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 60;
	uint64_t stack[512], *heap = malloc(sizeof data);
	for (int i = 0; i < 512; i++) {
		data[i] = i * 0x9e3779b97f4a7c15ull;
		stack[i] = data[i] ^ 0x5555;
		heap[i] = data[i] + 12345;
	}
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < 512; i++) {
			data[i] ^= heap[(i + round) % 512] >> 7;
			heap[i] += stack[(i * 3) % 512];
			stack[i] ^= data[(i * 5 + 1) % 512] << 3;
		}
		uint64_t hash = sum(sum(sum(0, data, sizeof data), stack, sizeof stack), heap, sizeof data);
		say("%d %016llx\n", round, (unsigned long long)hash);
	}
	return 0;
}
