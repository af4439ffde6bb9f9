/* sweeps MIB COUNT: computes without calls, writing all of so much memory over and over; prints a sum. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: sweeps MIB COUNT\n");
        return 2;
    }
    size_t words = ((size_t)atol(argv[1]) << 20) / 8;
    uint64_t *memory = calloc(words, 8), x = 88172645463325252ull;
    if (!memory) {
        perror("calloc");
        return 1;
    }
    for (long i = 0; i < atol(argv[2]); i++)
        for (size_t at = 0; at < words; at++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            memory[at] += x;
        }
    uint64_t sum = 0;
    for (size_t at = 0; at < words; at++)
        sum = sum * 31 + memory[at];
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
