/* Looks after a table of its own. When a byte of it is wrong it does something first, and then crashes:
 * "mask" blocks signals, "read" reads on in its file, "clock" looks at clocks and sleeps, "ask" asks for
 * all kinds of things, "abort" nothing but what abort(3) does, "say" writes a message, "log" a line to its log.
 * What it does otherwise shows whether anything is left of that. Arguments: what it does, rounds, how many
 * rounds between two looks, 1 to have the looks made by a thread among others, 1 to write to the log last. */
#include "guest.h"
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
static unsigned char table[1 << 16] = { 1 };
static volatile sig_atomic_t handled;
static int in, out;
static uint64_t last;
static void handler(int signal)
{
	handled += signal == SIGUSR1;
}
static uint64_t now(void)
{
	struct timespec t;
	CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void fails(const char *how)
{
	char byte;
	sigset_t all;
	struct stat about;
	struct rusage usage;
	struct timespec nap = { 0, 3000000 };
	if (strcmp(how, "mask") == 0) {
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		sigprocmask(SIG_UNBLOCK, &(sigset_t){ 0 }, NULL);
	}
	for (int i = 0; i < 40 && strcmp(how, "read") == 0; i++)
		CHECK(read(in, &byte, 1) == 1);
	for (int i = 0; i < 90 && strcmp(how, "clock") == 0; i++) {
		last = now();
		if (i % 30 == 0)
			nanosleep(&nap, NULL);
	}
	if (strcmp(how, "ask") == 0) {
		getrusage(RUSAGE_SELF, &usage);
		stat("/", &about);
		fstat(in, &about);
		access("/nowhere", R_OK);
		getppid();
		poll(&(struct pollfd){ .fd = in, .events = POLLIN }, 1, 0);
		sched_yield();
		sigaction(SIGUSR1, NULL, &(struct sigaction){ 0 });
		free(malloc(1 << 20));
	}
	if (strcmp(how, "say") == 0)
		dprintf(2, "a message\n");
	if (strcmp(how, "log") == 0)
		write_all(out, "wrong\n", 6);
	if (strcmp(how, "abort") == 0 || strcmp(how, "say") == 0 || strcmp(how, "log") == 0)
		abort();
	*(volatile int *)NULL = 1;
}
static void look(const char *how)
{
	for (size_t at = 0; at < sizeof table; at++)
		if (table[at] != 0x5a)
			fails(how);
}
static int rounds, every, ends_in_log;
static const char *how;
static void *work(void *unused)
{
	long sum = 0;
	sigset_t none;
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < rounds; i++) {
		if (i % every == 0)
			look(how);
		char line[32], bytes[7];
		CHECK(read(in, bytes, sizeof bytes) == sizeof bytes);
		for (size_t at = 0; at < sizeof bytes; at++)
			sum = sum * 31 % 1000003 + bytes[at];
		uint64_t then = now();
		CHECK(then >= last);
		last = then;
		CHECK(kill(getpid(), SIGUSR1) == 0);
		CHECK(handled == i + 1);
		if (ends_in_log)
			say("%d %ld\n", i, sum);
		write_all(out, line, snprintf(line, sizeof line, "line %d\n", i));
		if (!ends_in_log)
			say("%d %ld\n", i, sum);
	}
	return unused;
}
static volatile int over;
static void *beside(void *number)
{
	while (!over)
		usleep(500);
	return number;
}
int main(int argc, char **argv)
{
	how = argc > 1 ? argv[1] : "abort";
	rounds = argc > 2 ? atoi(argv[2]) : 100;
	every = argc > 3 ? atoi(argv[3]) : 1;
	int threads = argc > 4 && atoi(argv[4]);
	ends_in_log = argc > 5 && atoi(argv[5]);
	sigset_t before, after;
	CHECK(sigprocmask(SIG_BLOCK, NULL, &before) == 0);
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = handler }, NULL);
	memset(table, 0x5a, sizeof table);
	in = open("input", O_CREAT | O_RDWR, 0644);
	out = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
	CHECK(in >= 0 && out >= 0);
	for (int i = 0; i < 1000; i++)
		CHECK(pwrite(in, &i, sizeof i, i * sizeof i) == sizeof i);
	if (threads) {
		pthread_t all[3];
		sigset_t own;
		sigfillset(&own);
		pthread_sigmask(SIG_BLOCK, &own, NULL);
		for (int i = 0; i < 3; i++)
			CHECK(pthread_create(&all[i], NULL, i ? beside : work, NULL) == 0);
		CHECK(pthread_join(all[0], NULL) == 0);
		over = 1;
		CHECK(pthread_join(all[1], NULL) == 0 && pthread_join(all[2], NULL) == 0);
	} else {
		work(NULL);
		CHECK(sigprocmask(SIG_BLOCK, NULL, &after) == 0);
		CHECK(memcmp(&before, &after, sizeof before) == 0);
	}
	say("%d handled, at %ld\n", (int)handled, (long)lseek(in, 0, SEEK_CUR));
	return 3;
}
