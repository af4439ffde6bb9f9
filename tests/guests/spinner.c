/* Computes without a call for a while, then prints: for kills, hangs and stops in the middle. */
#include "guest.h"
int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 300;
	uint64_t state = 88172645463325252ull;
	say("start\n");
	for (long i = 0; i < rounds; i++)
		for (int k = 0; k < 1000000; k++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
		}
	say("%llx\n", (unsigned long long)state);
	return 0;
}
