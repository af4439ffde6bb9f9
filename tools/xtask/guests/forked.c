/* forked MIB COUNT: fills so much memory and forks so often; prints how long each fork(2) kept the
 * parent, in milliseconds, a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: forked MIB COUNT\n");
        return 2;
    }
    size_t size = (size_t)atol(argv[1]) << 20;
    char *memory = malloc(size + 1);
    if (!memory) {
        perror("malloc");
        return 1;
    }
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = (char)(at >> 12 | 1);
    for (long i = 0; i < atol(argv[2]); i++) {
        double begin = now();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        double end = now();
        if (child < 0) {
            perror("fork");
            return 1;
        }
        waitpid(child, NULL, 0);
        printf("%.3f\n", end - begin);
    }
    return 0;
}
