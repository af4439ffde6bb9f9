/* A mapped file grows and shrinks: what is behind its old end can be written once it has grown, and what
 * was cut off reads as zeros. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(write(fd, "short", 5) == 5);
	char *map = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && memcmp(map, "short\0\0", 7) == 0);
	CHECK(ftruncate(fd, 8 * 4096) == 0);
	strcpy(map + 5 * 4096, "grown");
	char back[16] = "";
	CHECK(pread(fd, back, 6, 5 * 4096) == 6);
	say("%s\n", back);
	CHECK(ftruncate(fd, 4096 + 10) == 0);
	CHECK(map[4096 + 9] == 0);
	CHECK(ftruncate(fd, 16 * 4096) == 0);
	CHECK(map[5 * 4096] == 0);
	strcpy(map + 15 * 4096, "last");
	CHECK(truncate("mapped", 15 * 4096 + 3) == 0);
	CHECK(posix_fallocate(fd, 0, 15 * 4096 + 6) == 0);
	say("%s\n", map + 15 * 4096);
	map = mremap(map, 16 * 4096, 40 * 4096, MREMAP_MAYMOVE);
	CHECK(map != MAP_FAILED && ftruncate(fd, 40 * 4096) == 0);
	strcpy(map + 39 * 4096, "moved");
	CHECK(msync(map + 39 * 4096, 4096, MS_ASYNC) == 0);
	CHECK(pread(fd, back, 6, 39 * 4096) == 6);
	say("%s\nok shared_trunc\n", back);
	return 0;
}
