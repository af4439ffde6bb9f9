/* Works in a mapped file and in anonymous shared memory for long, with a call now and then: for faults
 * put into that memory. */
#include "guest.h"
#include <sys/mman.h>
enum { PAGES = 64, ROUNDS = 200 };
int main(void)
{
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(ftruncate(fd, PAGES * 4096) == 0);
	uint64_t *map = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint64_t *own = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(map != MAP_FAILED && own != MAP_FAILED);
	close(fd);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		for (size_t i = round; i < PAGES * 512; i += 97) {
			own[i] = own[i] * 3 + i + round;
			map[i] ^= own[i];
		}
		voted(&round, sizeof round);
		if (round % 20 == 0)
			say("%llx\n", (unsigned long long)sum(0, own, PAGES * 4096));
		if (round % 50 == 7)
			CHECK(msync(map, PAGES * 4096, MS_ASYNC) == 0);
	}
	say("%llx\nok shared_work\n", (unsigned long long)sum(0, map, PAGES * 4096));
	return 0;
}
