/* Anonymous memory: fixed places, protection, growth, giving back, 200 MB of heap. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	char *a = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a != MAP_FAILED);
	memset(a, 7, 1 << 20);
	CHECK(mprotect(a + 4096, 4096, PROT_READ) == 0 && mprotect(a + 4096, 4096, PROT_READ | PROT_WRITE) == 0);
	CHECK(mmap(a + 8192, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == a + 8192 && a[8192] == 0);
	char *b = mremap(a, 1 << 20, 4 << 20, MREMAP_MAYMOVE);
	CHECK(b != MAP_FAILED || errno == EFAULT);
	char *c = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(munmap(c + 4096, 4096) == 0 && madvise(a, 4096, MADV_DONTNEED) == 0 && a[0] == 0);
	void *end = sbrk(0);
	CHECK(sbrk(1 << 20) == end && brk(end) == 0 && sbrk(0) == end);
	voted(&a, sizeof a);
	voted(&c, sizeof c);
	enum { BIG = 200 << 20 };
	unsigned char *big = malloc(BIG);
	CHECK(big != NULL);
	for (size_t i = 0; i < BIG; i += 4096)
		big[i] = i >> 12;
	unsigned total = 0;
	for (size_t i = 0; i < BIG; i += 4096)
		total += big[i];
	say("%u\n", total);
	big = realloc(big, 100 << 20);
	CHECK(big != NULL && big[8192] == 2);
	free(big);
	void *small[1000];
	for (int i = 0; i < 1000; i++)
		CHECK((small[i] = malloc(i * 37 % 5000)) != NULL);
	for (int i = 0; i < 1000; i += 2)
		free(small[i]);
	voted(small, sizeof small);
	FAILS(mmap(NULL, (size_t)1 << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, ENOMEM);
	say("ok anonmaps\n");
	return 0;
}
