/* Makes one kind of call in a loop and prints the nanoseconds that one of them took.
 *
 * usage: calls write|getppid|read COUNT FILE
 *   write    one byte to FILE (for example /dev/null)
 *   getppid  the cheapest question to the kernel
 *   read     4 KiB from the start of FILE, by pread
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static char block[4096];

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: calls write|getppid|read COUNT FILE\n");
        return 2;
    }
    long count = atol(argv[2]);
    int writing = strcmp(argv[1], "write") == 0;
    int reading = strcmp(argv[1], "read") == 0;
    int fd = open(argv[3], writing ? O_WRONLY : O_RDONLY);
    if (fd < 0) {
        perror(argv[3]);
        return 1;
    }
    double begin = now_ns();
    for (long i = 0; i < count; i++) {
        long result, wanted;
        if (writing) {
            result = write(fd, "x", wanted = 1);
        } else if (reading) {
            result = pread(fd, block, wanted = sizeof block, 0);
        } else {
            result = syscall(SYS_getppid);
            wanted = result;
        }
        if (result != wanted) {
            perror(argv[1]);
            return 1;
        }
    }
    printf("%.1f\n", (now_ns() - begin) / count);
    return 0;
}
