/* Maps, unmaps, moves, protects and grows memory, over and over, and prints check sums of it:
 * anonymous, of files, beyond the end of a file that is cut and replaced. */
#include "guest.h"
#include <sys/mman.h>
#define PAGE 4096
static void fill(unsigned char *at, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i += 64)
		at[i] = (unsigned char)(seed = seed * 1103515245 + 12345) ^ (i >> 8);
}
int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 20;
	unsigned char *kept = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(kept != MAP_FAILED);
	uint64_t hash = 0;
	for (int i = 0; i < rounds; i++) {
		size_t pages = 2 + i % 7;
		/* Grown, perhaps moved. */
		kept = mremap(kept, (8 + i) * PAGE, (9 + i) * PAGE, MREMAP_MAYMOVE);
		CHECK(kept != MAP_FAILED);
		fill(kept + (8 + i) * PAGE, PAGE, i);
		hash = sum(hash, kept, (9 + i) * PAGE);
		/* A file, privately: changes stay in memory. */
		char name[32];
		snprintf(name, sizeof name, "map%d", i % 3);
		int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
		CHECK(fd >= 0 && ftruncate(fd, pages * PAGE) == 0);
		CHECK(pwrite(fd, name, sizeof name, PAGE) == sizeof name);
		unsigned char *of_file = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		CHECK(of_file != MAP_FAILED);
		fill(of_file, PAGE, i + 100);
		hash = sum(hash, of_file, pages * PAGE);
		/* The file gets another content, is replaced and removed; the part that was written stays. */
		CHECK(pwrite(fd, "other", 5, PAGE) == 5);
		CHECK(rename(name, "moved") == 0 && unlink("moved") == 0);
		close(fd);
		hash = sum(hash, of_file, PAGE);
		/* Read only, then not at all, then again. */
		CHECK(mprotect(of_file, PAGE, PROT_READ) == 0);
		hash = sum(hash, of_file, PAGE);
		CHECK(mprotect(of_file, PAGE, PROT_NONE) == 0);
		CHECK(mprotect(of_file, PAGE, PROT_READ | PROT_WRITE) == 0);
		of_file[1] = (unsigned char)i;
		/* A hole, and another mapping in its place. */
		CHECK(munmap(of_file + PAGE, PAGE) == 0);
		unsigned char *hole = mmap(of_file + PAGE, PAGE, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		CHECK(hole == of_file + PAGE && hole[0] == 0);
		fill(hole, PAGE, i + 200);
		hash = sum(hash, of_file, 2 * PAGE);
		CHECK(madvise(hole, PAGE, MADV_DONTNEED) == 0 && hole[0] == 0);
		CHECK(munmap(of_file, pages * PAGE) == 0);
		/* The heap grows and shrinks. */
		char *heap = malloc(200000 + i);
		memset(heap, i, 200000 + i);
		hash = sum(hash, heap, 300);
		free(heap);
		say("%d %llx\n", i, (unsigned long long)hash);
	}
	return 0;
}
