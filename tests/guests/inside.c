/* Many small reads and writes of files, and all that must be seen of them at once: by other
 * descriptors, by mappings, by other processes, by whoever looks while the program computes. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#define HOT 200 /* calls after which nothing can be called a beginning any more */

static char block[200000];

static int fresh(const char *name, int flags)
{
	int fd = open(name, O_CREAT | O_TRUNC | flags, 0644);
	CHECK(fd >= 0);
	return fd;
}

static void warm(int fd)
{
	for (int i = 0; i < HOT; i++)
		CHECK(write(fd, "warm", 4) == 4);
}

static off_t size_of(const char *name)
{
	struct stat st;
	CHECK(stat(name, &st) == 0);
	return st.st_size;
}

static uint64_t sum_of(const char *name)
{
	int fd = open(name, O_RDONLY);
	CHECK(fd >= 0);
	uint64_t s = 0;
	ssize_t n;
	while ((n = read(fd, block, sizeof block)) > 0)
		s = sum(s, block, n);
	CHECK(n == 0);
	close(fd);
	return s;
}

/* Every length around the limits, and what a second descriptor sees of it. */
static void lengths(void)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 24, 4095, 4096, 32767, 32768, 32769, 100000 };
	int fd = fresh("lengths", O_WRONLY), other = open("lengths", O_RDONLY);
	off_t at = 0;
	uint64_t mine = 0, theirs = 0;
	warm(fd);
	at += 4 * HOT;
	for (int round = 0; round < 40; round++) {
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			memset(block, 'a' + (round + i) % 26, sizes[i]);
			CHECK(write(fd, block, sizes[i]) == (ssize_t)sizes[i]);
			at += sizes[i];
		}
		CHECK(lseek(fd, 0, SEEK_CUR) == at);
		CHECK(size_of("lengths") == at);
	}
	CHECK(write(fd, "end", 3) == 3);
	CHECK(pread(other, block, 3, at) == 3 && memcmp(block, "end", 3) == 0);
	CHECK(ftruncate(fd, 1000) == 0 && write(fd, "x", 1) == 1);
	CHECK(size_of("lengths") == at + 4);
	(void)mine, (void)theirs;
	close(other);
	close(fd);
	say("lengths %llx\n", (unsigned long long)sum_of("lengths"));
}

/* The end of a file, a position moved by hand, a file that is written while it is read. */
static void reading(void)
{
	int fd = fresh("read", O_RDWR);
	for (int i = 0; i < 20000; i++) {
		char line[16];
		CHECK(write(fd, line, snprintf(line, sizeof line, "line %6d\n", i)) == 12);
	}
	int in = open("read", O_RDONLY);
	uint64_t s = 0;
	long total = 0;
	ssize_t n;
	for (int i = 0; (n = read(in, block, 1 + i % 5000)) > 0; i++) {
		s = sum(s, block, n);
		total += n;
	}
	CHECK(n == 0 && total == 240000 && read(in, block, 10) == 0);
	say("read %llx\n", (unsigned long long)s);
	CHECK(lseek(in, 0, SEEK_SET) == 0);
	for (int i = 0; i < 1000; i++) {
		CHECK(read(in, block, 12) == 12 && atoi(block + 5) == i);
		CHECK(lseek(in, 0, SEEK_CUR) == 12 * (i + 1) || i % 3);
	}
	/* What comes next is changed through another descriptor, then through this one's twin. */
	CHECK(read(in, block, 12) == 12);
	CHECK(pwrite(fd, "LINE", 4, 12 * 1001) == 4);
	CHECK(read(in, block, 12) == 12 && memcmp(block, "LINE   1001", 11) == 0);
	CHECK(lseek(fd, 12 * 1002, SEEK_SET) == 12 * 1002);
	for (int i = 1002; i < 1200; i++) {
		CHECK(write(fd, "Line", 4) == 4 && lseek(fd, 8, SEEK_CUR) > 0);
		CHECK(read(in, block, 12) == 12 && block[0] == 'L' && block[1] == 'i');
	}
	/* One descriptor both ways. */
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	for (int i = 0; i < 300; i++) {
		CHECK(read(fd, block, 12) == 12 && atoi(block + 5) == 2 * i);
		CHECK(write(fd, "changed!....", 12) == 12);
	}
	CHECK(pread(fd, block, 24, 12) == 24 && memcmp(block, "changed!....line      2", 23) == 0);
	/* At the end of a file that grows. */
	CHECK(lseek(in, 0, SEEK_END) == 240000);
	int out = open("read", O_WRONLY | O_APPEND);
	for (int i = 0; i < 300; i++) {
		CHECK(read(in, block, 5) == 0);
		CHECK(write(out, "more!", 5) == 5);
		CHECK(read(in, block, 5) == 5 && memcmp(block, "more!", 5) == 0);
	}
	close(out);
	close(in);
	close(fd);
}

/* From one file to another, as a compressor does: the copies may run far apart meanwhile. */
static void copying(void)
{
	static char from[9000], to[3 << 20];
	int fd = fresh("from", O_WRONLY);
	for (size_t i = 0; i < sizeof to; i++)
		to[i] = i * 2654435761u >> 13;
	for (size_t at = 0, n = 1; at < sizeof to; at += n, n = 1 + n * 7 % 8191) {
		n = n < sizeof to - at ? n : sizeof to - at;
		CHECK(write(fd, to + at, n) == (ssize_t)n);
	}
	close(fd);
	int in = open("from", O_RDONLY), out = fresh("to", O_WRONLY);
	size_t at = 0, got;
	for (int i = 0; (got = read(in, from, 1 + i * 37 % 9000)) > 0; i++) {
		CHECK(memcmp(from, to + at, got) == 0);
		for (size_t n = 0; n < got; n++)
			from[n] ^= 0x5a;
		for (size_t n = 0; n < got; n += 3000) {
			size_t part = got - n < 3000 ? got - n : 3000;
			CHECK(write(out, from + n, part) == (ssize_t)part);
		}
		at += got;
		if (i % 50 == 0) /* a clock is asked on the way */
			(void)time(NULL);
	}
	CHECK(got == 0 && at == sizeof to && lseek(out, 0, SEEK_CUR) == (off_t)at);
	close(in);
	close(out);
	in = open("to", O_RDONLY);
	for (at = 0; (got = read(in, block, sizeof block)) > 0; at += got)
		for (size_t n = 0; n < got; n++)
			CHECK((block[n] ^ 0x5a) == to[at + n]);
	CHECK(at == sizeof to);
	close(in);
	unlink("from");
	unlink("to");
	say("copying\n");
}

/* A number that means something else from one call to the next. */
static void numbers(void)
{
	int fd = fresh("numbers", O_WRONLY), ends[2];
	warm(fd);
	CHECK(pipe(ends) == 0);
	int twin = dup(fd);
	for (int i = 0; i < 100; i++) {
		CHECK(write(fd, "a", 1) == 1 && write(twin, "b", 1) == 1);
	}
	CHECK(write(fd, "last", 4) == 4);
	CHECK(dup2(ends[1], fd) == fd);
	CHECK(write(fd, "pipe", 4) == 4 && read(ends[0], block, 10) == 4);
	close(fd);
	FAILS(write(fd, "x", 1), EBADF);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	FAILS(write(ends[1], "x", 1), EPIPE);
	signal(SIGPIPE, SIG_DFL);
	CHECK(write(twin, "end", 3) == 3);
	CHECK(fcntl(twin, F_SETFL, O_APPEND) == 0 && lseek(twin, 0, SEEK_SET) == 0);
	for (int i = 0; i < 100; i++)
		CHECK(write(twin, "+", 1) == 1);
	close(twin);
	int full = open("/dev/full", O_WRONLY), null = open("/dev/null", O_RDWR);
	for (int i = 0; i < HOT; i++)
		CHECK(write(null, block, i * 100) == i * 100 && read(null, block, 9) == 0);
	for (int i = 0; i < HOT; i++)
		FAILS(write(full, "x", 1), ENOSPC);
	int only = open("numbers", O_RDONLY);
	for (int i = 0; i < HOT; i++)
		FAILS(write(only, "x", 1), EBADF);
	close(full), close(null), close(only);
	say("numbers %lld %llx\n", (long long)size_of("numbers"), (unsigned long long)sum_of("numbers"));
}

/* Addresses that lead nowhere, half or whole. */
static void addresses(void)
{
	int fd = fresh("addresses", O_RDWR);
	warm(fd);
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED && munmap(page + 4096, 4096) == 0);
	FAILS(write(fd, (void *)(intptr_t)(block[0] * 0 + 16), 100), EFAULT);
	FAILS(write(fd, page + 4096, 10), EFAULT);
	CHECK(write(fd, page + 4096, 0) == 0);
	CHECK(write(fd, page + 4000, 96) == 96);
	CHECK(lseek(fd, 0, SEEK_CUR) == 4 * HOT + 96);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	for (int i = 0; i < 50; i++)
		CHECK(read(fd, block, 4) == 4);
	FAILS(read(fd, page + 4096, 4), EFAULT);
	CHECK(mprotect(page, 4096, PROT_READ) == 0);
	FAILS(read(fd, page, 4), EFAULT);
	CHECK(lseek(fd, 0, SEEK_CUR) == 200);
	CHECK(read(fd, block, 4) == 4);
	munmap(page, 4096);
	close(fd);
	say("addresses %lld\n", (long long)size_of("addresses"));
}

/* What a mapping shows is what has been written, no less and no more: a copy of the program that is
 * behind must not see what comes later. */
static void shown(int round)
{
	int fd = fresh("shown", O_RDWR), reader = open("shown", O_RDONLY);
	warm(fd);
	volatile char *map = mmap(NULL, 4096, PROT_READ, round % 2 ? MAP_SHARED : MAP_PRIVATE, reader, 0);
	CHECK(map != MAP_FAILED);
	for (int i = 0; i < 40; i++) {
		for (volatile int spin = 0; spin < 3000; spin++)
			;
		CHECK(map[i * 4] == 'w' && map[i * 4 + 1] == 'a');
		CHECK(pwrite(fd, "X", 1, i * 4) == 1 && map[i * 4] == 'X');
	}
	munmap((void *)map, 4096);
	close(reader);
	close(fd);
}

static void mappings(void)
{
	for (int round = 0; round < 10; round++)
		shown(round);
	int fd = fresh("mapped", O_RDWR);
	warm(fd);
	int reader = open("mapped", O_RDONLY);
	volatile char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 0);
	CHECK(map != MAP_FAILED && map[0] == 'w');
	for (int i = 0; i < 100; i++) {
		char c = 'A' + i % 26;
		CHECK(lseek(fd, i, SEEK_SET) == i && write(fd, &c, 1) == 1 && map[i] == c);
	}
	CHECK(lseek(fd, 100, SEEK_SET) == 100);
	for (int i = 100; i < 300; i++) {
		char c = 'A' + i % 26;
		CHECK(write(fd, &c, 1) == 1 && map[i] == c);
	}
	munmap((void *)map, 4096);
	close(reader);
	close(fd);
	say("mappings\n");
}

/* Ends of every kind leave in the file what was written before. */
static void ends(void)
{
	static const char *const how[] = { "exit", "crash", "abort", "kill", "term", "exec", "trap" };
	for (int i = 0; i < 7; i++) {
		int ready[2];
		CHECK(pipe(ready) == 0);
		pid_t child = fork();
		if (child == 0) {
			int fd = fresh(how[i], O_WRONLY | (i % 2 ? O_APPEND : 0));
			for (int n = 0; n < 1000; n++)
				CHECK(write(fd, "a line of text\n", 15) == 15);
			switch (i) {
			case 0: _exit(0);
			case 1: *(volatile int *)8 = 1; break;
			case 2: abort();
			case 3: raise(SIGKILL); break;
			case 4: CHECK(write(ready[1], "r", 1) == 1);
				for (int n = 0;; n++)
					CHECK(n > 500 || write(fd, "x", 1) == 1);
			case 5: execl("/bin/true", "true", NULL); break;
			case 6: __builtin_trap();
			}
			_exit(99);
		}
		if (i == 4) {
			read_all(ready[0], block, 1);
			while (size_of(how[i]) < 15501)
				usleep(1000);
			CHECK(kill(child, SIGTERM) == 0);
		}
		int status = reap(child);
		say("%s: status %x size %lld sum %llx\n", how[i], status & 0x7f,
		    (long long)size_of(how[i]), (unsigned long long)sum_of(how[i]));
		close(ready[0]);
		close(ready[1]);
	}
}

/* Parent and children write to one open file in turn, and by vfork in one memory. */
static void families(void)
{
	int fd = fresh("family", O_WRONLY), turn[2], back[2];
	warm(fd);
	CHECK(pipe(turn) == 0 && pipe(back) == 0);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 100; i++) {
			read_all(turn[0], block, 1);
			CHECK(write(fd, "child\n", 6) == 6);
			write_all(back[1], "b", 1);
		}
		_exit(0);
	}
	for (int i = 0; i < 100; i++) {
		CHECK(write(fd, "parent\n", 7) == 7);
		write_all(turn[1], "t", 1);
		read_all(back[0], block, 1);
	}
	exited_with(child, 0);
	for (int i = 0; i < 20; i++) {
		CHECK(write(fd, "before\n", 7) == 7);
		child = vfork();
		if (child == 0) {
			for (int n = 0; n < 30; n++)
				if (write(fd, "vfork\n", 6) != 6)
					_exit(1);
			if (dup2(turn[1], fd) != fd || write(fd, "to the pipe", 11) != 11)
				_exit(2);
			_exit(0);
		}
		exited_with(child, 0);
		read_all(turn[0], block, 11);
		CHECK(memcmp(block, "to the pipe", 11) == 0);
		for (int n = 0; n < 30; n++)
			CHECK(write(fd, "after\n", 6) == 6);
	}
	close(fd);
	say("family %llx\n", (unsigned long long)sum_of("family"));
}

static int handled = -1;
static volatile int alarms;

static void on_alarm(int s)
{
	(void)s;
	int saved = errno;
	for (int i = 0; i < 3; i++)
		CHECK(write(handled, "handler\n", 8) == 8);
	alarms++;
	errno = saved;
}

/* A handler that writes, in the midst of everything. */
static void handlers(void)
{
	int fd = fresh("main", O_WRONLY);
	handled = fresh("handled", O_WRONLY);
	warm(handled);
	signal(SIGALRM, on_alarm);
	struct itimerval fast = { { 0, 2000 }, { 0, 2000 } }, off = { { 0, 0 }, { 0, 0 } };
	CHECK(setitimer(ITIMER_REAL, &fast, NULL) == 0);
	long lines = 0;
	while (alarms < 50) {
		for (int i = 0; i < 50; i++, lines++) {
			char line[32];
			int n = snprintf(line, sizeof line, "%09ld\n", lines);
			CHECK(write(fd, line, n) == n);
		}
		getppid();
	}
	CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
	CHECK(size_of("main") == lines * 10);
	CHECK(size_of("handled") == 4 * HOT + (off_t)alarms * 24);
	int in = open("main", O_RDONLY);
	for (long i = 0; i < lines; i++)
		CHECK(read(in, block, 10) == 10 && atol(block) == i);
	close(in);
	close(fd);
	close(handled);
	unlink("main");
	unlink("handled");
	say("handlers\n");
}

/* Seen by others while this process makes no call at all. */
static void onlookers(void)
{
	int fd = fresh("seen", O_WRONLY);
	pid_t child = fork();
	if (child == 0) {
		warm(fd);
		CHECK(write(fd, "now compute", 11) == 11);
		for (volatile unsigned long i = 0;; i++)
			;
	}
	while (size_of("seen") < 4 * HOT + 11)
		usleep(1000);
	CHECK(kill(child, SIGKILL) == 0);
	reap(child);
	close(fd);
	say("onlookers\n");
}

static void limited(void)
{
	pid_t child = fork();
	if (child == 0) {
		int fd = fresh("limited", O_WRONLY);
		warm(fd);
		signal(SIGXFSZ, SIG_IGN);
		struct rlimit limit = { 1000, 1000 };
		CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
		for (int i = 0; i < 50; i++)
			CHECK(write(fd, "0123", 4) == 4);
		FAILS(write(fd, "x", 1), EFBIG);
		_exit(0);
	}
	exited_with(child, 0);
	say("limited %lld\n", (long long)size_of("limited"));
}

int main(void)
{
	lengths();
	reading();
	copying();
	numbers();
	addresses();
	mappings();
	ends();
	families();
	handlers();
	onlookers();
	limited();
	say("ok inside\n");
	return 0;
}
