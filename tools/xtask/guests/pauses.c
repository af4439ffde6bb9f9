/* Holds so many MiB and makes calls for so long; prints how long each pause was that it saw in that, in
 * milliseconds, a line each, the longest first. With EVERY it forks itself so often, as a measure; else
 * somebody else is to stop it.
 *
 * usage: pauses MIB SECONDS [EVERY_MS]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 16 };
static double pauses[MOST];
static pid_t last_child;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* One more copy of this process; the one before ends meanwhile. How long that took. */
static double copy(void)
{
    double begin = now();
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    double took = now() - begin;
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    if (last_child)
        kill(last_child, SIGKILL);
    last_child = child;
    return took;
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: pauses MIB SECONDS [EVERY_MS]\n");
        return 2;
    }
    size_t size = (size_t)atol(argv[1]) << 20;
    double length = atof(argv[2]) * 1e3, every = argc == 4 ? atof(argv[3]) : 0;
    char *memory = malloc(size + 1);
    if (!memory) {
        perror("malloc");
        return 1;
    }
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = (char)(at >> 12 | 1);
    signal(SIGCHLD, SIG_IGN);
    double begin = now(), last = begin, forked = begin;
    unsigned long sum = 0;
    long count = 0;
    for (long i = 0; last - begin < length; i++) {
        sum += (unsigned char)memory[(size_t)i * 4096 % (size + 1)];
        if (getppid() < 0)
            return 1;
        double at = now();
        if (!every && at - last > 0.1 && count < MOST)
            pauses[count++] = at - last;
        last = at;
        if (every && at - forked >= every && count < MOST) {
            pauses[count++] = copy();
            last = forked = now();
        }
    }
    if (last_child)
        kill(last_child, SIGKILL);
    qsort(pauses, (size_t)count, sizeof *pauses, descending);
    for (long i = 0; i < count; i++)
        printf("%.3f\n", pauses[i]);
    return sum == 0;
}
