/* Private file mappings: read, written in memory alone, grown, moved, shared read-only. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	enum { PAGES = 16, SIZE = PAGES * 4096 };
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	char *data = malloc(SIZE);
	for (int i = 0; i < SIZE; i++)
		data[i] = i / 4096 + 'a';
	write_all(fd, data, SIZE);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED && memcmp(map, data, SIZE) == 0);
	memset(map + 4096, 'Z', 4096);
	say("%c%c%c\n", map[0], map[4096], map[8192]);
	char back[2];
	CHECK(pread(fd, back, 1, 4096) == 1 && back[0] == 'b');
	char *tail = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, SIZE - 8192);
	CHECK(tail != MAP_FAILED && tail[0] == 'a' + PAGES - 2);
	char *shared = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(shared != MAP_FAILED && memcmp(shared, data, SIZE) == 0);
	close(fd);
	say("%llx\n", (unsigned long long)sum(0, map, SIZE));
	CHECK(write(1, map, 3) == 3 && write(1, "\n", 1) == 1);
	char *grown = mremap(map, 4096, 3 * 4096, MREMAP_MAYMOVE);
	CHECK(grown != MAP_FAILED && grown[0] == 'a');
	voted(&grown, sizeof grown);
	CHECK(munmap(grown, 4096) == 0);
	fd = open("mapped", O_RDONLY);
	int out = open("out", O_CREAT | O_WRONLY, 0644);
	char *whole = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	write_all(out, whole, SIZE);
	CHECK(madvise(whole, SIZE, MADV_DONTNEED) == 0 && whole[5] == 'a');
	FAILS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, EACCES);
	FAILS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED ? -1 : 0, EBADF);
	say("ok filemaps\n");
	return 0;
}
