/* Holds so many MiB, every page of them written, then makes COUNT calls that are caught.
 * Prints "ready" when the memory is there and "done" at the end.
 *
 * usage: hold MIB COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: hold MIB COUNT\n");
        return 2;
    }
    size_t size = (size_t)atol(argv[1]) << 20;
    long count = atol(argv[2]);
    char *memory = malloc(size + 1);
    if (!memory) {
        perror("malloc");
        return 1;
    }
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = (char)(at >> 12 | 1);
    if (write(1, "ready\n", 6) != 6)
        return 1;
    unsigned long sum = 0;
    for (long i = 0; i < count; i++) {
        /* Every page is read again now and then: what a repair copied is really used. */
        sum += (unsigned char)memory[(size_t)i * 4096 % (size + 1)];
        /* A call that is caught: a write would be gathered inside the replica. */
        if (getppid() < 0)
            return 1;
    }
    printf("done %lu\n", sum);
    return 0;
}
