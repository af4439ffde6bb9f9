/* What a program has once been told stays so: it keeps random bytes, times and numbers of its own in
 * memory and in a file, and compares the two again and again. */
#include "guest.h"
#include <sys/random.h>
#include <sys/time.h>
#define MOST 400
static unsigned char known[MOST][64];
int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 60;
	int fd = open("told", O_CREAT | O_RDWR | O_TRUNC, 0600), source = open("/dev/urandom", O_RDONLY);
	CHECK(fd >= 0 && source >= 0 && rounds <= MOST);
	struct timespec last = { 0, 0 };
	for (int i = 0; i < rounds; i++) {
		struct timespec now;
		struct timeval day;
		pid_t own = getpid(), parent = getppid();
		CHECK(getrandom(known[i], 16, 0) == 16);
		CHECK(read(source, known[i] + 16, 8) == 8);
		CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && gettimeofday(&day, NULL) == 0);
		CHECK(now.tv_sec > last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec >= last.tv_nsec));
		last = now;
		memcpy(known[i] + 24, &now, 16);
		memcpy(known[i] + 40, &day, 16);
		memcpy(known[i] + 56, &own, 4);
		memcpy(known[i] + 60, &parent, 4);
		/* What it writes is what it has in memory, then and ever after. */
		write_all(fd, known[i], sizeof known[i]);
		unsigned char there[64];
		int which = (i * 7) % (i + 1);
		CHECK(pread(fd, there, sizeof there, which * 64) == 64);
		CHECK(memcmp(there, known[which], sizeof there) == 0);
		CHECK(own == getpid());
	}
	for (int i = 0; i < rounds; i++) {
		unsigned char there[64];
		CHECK(pread(fd, there, sizeof there, i * 64) == 64);
		CHECK(memcmp(there, known[i], sizeof there) == 0);
	}
	CHECK(close(fd) == 0 && unlink("told") == 0);
	say("all stayed\n");
	return 0;
}
