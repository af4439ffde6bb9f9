/* Mappings that lie side by side and are one to the kernel, if nobody divides them, are grown and moved as one:
 * joined [rounds] [milliseconds between the two mappings]; output into a file if there is a third argument. */
#include "guest.h"
#include <sys/mman.h>
#define PAGE 4096ul
static void fill(unsigned char *at, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i += 64)
		at[i] = (unsigned char)(seed = seed * 1103515245 + 12345) ^ (i >> 8);
}
static unsigned char *map(void *at, size_t pages)
{
	int fixed = at ? MAP_FIXED_NOREPLACE : 0;
	unsigned char *got = mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
	CHECK(got != MAP_FAILED && (!at || got == at));
	return got;
}
static long pause_ms;
/* Two that are filled, of `first` and `second` pages, and `room` pages behind them that are free. */
static unsigned char *two(size_t first, size_t second, size_t room, int seed)
{
	unsigned char *at = map(NULL, first + second + room);
	CHECK(munmap(at, (first + second + room) * PAGE) == 0);
	map(at, first);
	fill(at, first * PAGE, seed);
	voted(at, first * PAGE);
	struct timespec time = { 0, pause_ms * 1000000 };
	nanosleep(&time, NULL);
	map(at + first * PAGE, second);
	fill(at + first * PAGE, second * PAGE, seed + 1);
	return at;
}
int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 12;
	pause_ms = argc > 2 ? atoi(argv[2]) : 1;
	if (argc > 3)
		CHECK(dup2(open(argv[3], O_CREAT | O_WRONLY | O_TRUNC, 0644), 1) == 1);
	for (int i = 0; i < rounds; i++) {
		size_t a = 1 + i % 5, b = 1 + i % 3, n = a + b;
		uint64_t hash = 0;
		/* Grown where it is. */
		unsigned char *at = two(a, b, 8, i);
		CHECK(mremap(at, n * PAGE, (n + 4) * PAGE, 0) == at);
		fill(at + n * PAGE, 4 * PAGE, i + 7);
		hash = sum(hash, at, (n + 4) * PAGE);
		/* Again, of three parts, to another place. */
		map(at + (n + 4) * PAGE, 2);
		unsigned char *new = mremap(at, (n + 6) * PAGE, (n + 600) * PAGE, MREMAP_MAYMOVE);
		CHECK(new != MAP_FAILED && new != at);
		CHECK(msync(at, PAGE, MS_ASYNC) == -1 && errno == ENOMEM);
		hash = sum(hash, new, (n + 10) * PAGE);
		CHECK(munmap(new, (n + 600) * PAGE) == 0);
		/* To a place of the program's choice, longer, shorter, and of a part of each. */
		for (int how = 0; how < 3; how++) {
			at = two(a + 1, b + 1, 0, i + how);
			size_t from = how == 2 ? 1 : 0, old = a + b + 2 - 2 * from, len = how == 1 ? a : old + 3;
			unsigned char *to = map(NULL, len + 1) + PAGE;
			new = mremap(at + from * PAGE, old * PAGE, len * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
			CHECK(new == to);
			hash = sum(hash, new, len * PAGE);
			CHECK(munmap(at, (a + b + 2) * PAGE) == 0 && munmap(to - PAGE, (len + 1) * PAGE) == 0);
		}
		/* What is not one to anybody stays two. */
		at = two(a, b, 8, i);
		CHECK(mprotect(at, a * PAGE, PROT_READ) == 0);
		FAILS(mremap(at, n * PAGE, (n + 1) * PAGE, MREMAP_MAYMOVE), EFAULT);
		CHECK(munmap(at, n * PAGE) == 0);
		at = two(a, b, 8, i);
		CHECK(munmap(at + (a - 1) * PAGE, PAGE) == 0);
		FAILS(mremap(at, n * PAGE, (n + 1) * PAGE, MREMAP_MAYMOVE), EFAULT);
		CHECK(munmap(at, n * PAGE) == 0);
		say("%d %llx\n", i, (unsigned long long)hash);
	}
	return 0;
}
