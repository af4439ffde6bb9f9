/* Memory that changes in every way, and sums of all of it: dirties TURNS HOW [TURN]
 * Appends a line every tenth turn. If HOW is 1 it executes itself in the middle of its turns, with fresh memory;
 * if it is 2 it has no children. What it does is the same each time. */
#include "guest.h"
#include <sys/mman.h>

enum { SLOTS = 24, MOST = 100, PAGE = 4096 };
static struct {
	unsigned char *at;
	size_t pages;
} slots[SLOTS];
static unsigned char *heap;
static size_t heap_pages;
static uint64_t state = 88172645463325252u;
static int how;

static unsigned next(unsigned most)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % most;
}

static unsigned char *area(size_t pages)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

static void fill(unsigned char *at, size_t bytes)
{
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t value = state += 0x9e3779b97f4a7c15u;
		value ^= value >> 31;
		memcpy(at + i, &value, 8);
	}
}

static uint64_t fold(uint64_t sum, const unsigned char *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word;
		memcpy(&word, at + i, 8);
		sum = (sum ^ word) * 0x100000001b3u;
	}
	return sum;
}

static void turn(void)
{
	unsigned i = next(SLOTS), j = next(SLOTS);
	unsigned char *at = slots[i].at;
	size_t pages = slots[i].pages, page = next(pages), few = 1 + next(pages - page);
	few = few > 6 ? 6 : few;
	switch (next(13)) {
	case 0: /* new memory in the old place, or another */
		CHECK(munmap(at, pages * PAGE) == 0);
		slots[i].pages = 1 + next(MOST);
		slots[i].at = area(slots[i].pages);
		fill(slots[i].at, slots[i].pages * PAGE / 2);
		break;
	case 1:
		CHECK(madvise(at + page * PAGE, few * PAGE, MADV_DONTNEED) == 0);
		break;
	case 2: { /* two pages change places: none of them is written to */
		size_t other = next(slots[j].pages);
		unsigned char *a = at + page * PAGE, *b = slots[j].at + other * PAGE;
		if (a == b)
			break;
		unsigned char *aside = area(1);
		CHECK(mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, aside) == aside);
		CHECK(mremap(b, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a) == a);
		CHECK(mremap(aside, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b) == b);
		break;
	}
	case 3: /* all of it moves */ {
		unsigned char *to = area(pages);
		for (size_t k = 0; k < pages; k++)
			CHECK(mremap(at + k * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + k * PAGE) ==
			      to + k * PAGE);
		slots[i].at = to;
		break;
	}
	case 4: /* the heap grows, or shrinks */
		if (heap_pages > 40) {
			CHECK(brk(heap + 20 * PAGE) == 0);
			heap_pages = 20;
		} else {
			CHECK(brk(heap + (heap_pages + 10) * PAGE) == 0);
			heap_pages += 10;
			fill(heap + (heap_pages - 4) * PAGE, 3 * PAGE);
		}
		break;
	case 5: /* the kernel writes, for the program */
	{
		int fd = open("input", O_RDONLY);
		CHECK(fd >= 0);
		CHECK(pread(fd, at + page * PAGE + 16, 2000, next(60) * 1000) == 2000);
		close(fd);
		break;
	}
	case 6: /* read only and back */
		CHECK(mprotect(at + page * PAGE, few * PAGE, PROT_READ) == 0);
		CHECK(mprotect(at + page * PAGE, few * PAGE, PROT_READ | PROT_WRITE) == 0);
		at[page * PAGE] ^= 1;
		break;
	case 7: { /* a child has its own */
		if (how == 2)
			break;
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			fill(at, pages * PAGE);
			_exit(7);
		}
		at[page * PAGE + 9]++;
		CHECK(WEXITSTATUS(reap(child)) == 7);
		break;
	}
	case 8: { /* a private file */
		int fd = open("input", O_RDONLY);
		CHECK(munmap(at, pages * PAGE) == 0);
		slots[i].pages = 15;
		slots[i].at = mmap(NULL, 15 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		CHECK(slots[i].at != MAP_FAILED && close(fd) == 0);
		slots[i].at[next(15) * PAGE + 100] += 3;
		break;
	}
	case 9: /* new memory over a part of the old */
		CHECK(mmap(at + page * PAGE, few * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at + page * PAGE);
		break;
	default:
		fill(at + page * PAGE, few * PAGE);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc >= 3);
	how = atoi(argv[2]);
	int turns = atoi(argv[1]), from = argc > 3 ? atoi(argv[3]) : 0;
	state += from;
	heap = sbrk(0);
	CHECK((uintptr_t)heap % PAGE == 0);
	for (int i = 0; i < SLOTS; i++) {
		slots[i].pages = 1 + next(MOST);
		slots[i].at = area(slots[i].pages);
		fill(slots[i].at, slots[i].pages * PAGE);
	}
	int out = open("out", O_WRONLY | O_CREAT | O_APPEND, 0644);
	CHECK(out >= 0);
	for (int k = from; k < turns; k++) {
		if (how == 1 && k == turns / 2 && !from) {
			char now[16];
			sprintf(now, "%d", k);
			execl(argv[0], argv[0], argv[1], argv[2], now, (char *)NULL);
			_exit(97);
		}
		turn();
		if (k % 10 == 9) {
			uint64_t all = fold(7, heap, heap_pages * PAGE);
			for (int i = 0; i < SLOTS; i++)
				all = fold(all, slots[i].at, slots[i].pages * PAGE);
			/* The heap is this program's own: nothing is allocated. */
			char line[64];
			int length = snprintf(line, sizeof line, "%d %016llx\n", k, (unsigned long long)all);
			CHECK(write(out, line, length) == length);
			pause_unless_hurried(60000);
		}
	}
	return 0;
}
