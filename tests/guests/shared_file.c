/* A regular file mapped shared: what is written in memory is read by read(2), and what is written by
 * write(2) is seen in memory. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/uio.h>

enum { SIZE = 5 * 4096 + 100 };

static char at(int fd, off_t offset)
{
	char byte = 0;
	CHECK(pread(fd, &byte, 1, offset) == 1);
	return byte;
}

int main(void)
{
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	char *data = malloc(SIZE);
	for (int i = 0; i < SIZE; i++)
		data[i] = 'a' + i % 23;
	write_all(fd, data, SIZE);
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && memcmp(map, data, SIZE) == 0);
	map[0] = 'A';
	memset(map + 4090, 'B', 20);
	CHECK(at(fd, 0) == 'A' && at(fd, 4095) == 'B' && at(fd, 4110) == data[4110]);
	map[SIZE - 1] = 'C';
	CHECK(msync(map, SIZE, MS_SYNC) == 0);
	CHECK(at(fd, SIZE - 1) == 'C');
	CHECK(pwrite(fd, "written", 7, 8000) == 7 && memcmp(map + 8000, "written", 7) == 0);
	struct iovec two[2] = { { "one", 3 }, { "two", 3 } };
	CHECK(pwritev(fd, two, 2, 100) == 6 && memcmp(map + 100, "onetwo", 6) == 0);
	map[8003] = 'X';
	CHECK(pwrite(fd, "Y", 1, 8005) == 1);
	char back[8] = "";
	CHECK(pread(fd, back, 7, 8000) == 7);
	say("%s %.7s\n", back, map + 8000);
	int other = open("mapped", O_RDONLY);
	map[12345] = '!';
	CHECK(at(other, 12345) == '!');
	int append = open("mapped", O_WRONLY | O_APPEND);
	CHECK(write(append, "more", 4) == 4);
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size == SIZE + 4);
	CHECK(memcmp(map + SIZE, "more", 4) == 0);
	close(fd);
	close(append);
	map[20] = '0';
	CHECK(at(other, 20) == '0');
	/* Into and out of the mapping. */
	int pipes[2];
	CHECK(pipe(pipes) == 0);
	CHECK(write(pipes[1], map + 8000, 7) == 7 && read(pipes[0], map + 9000, 7) == 7);
	CHECK(at(other, 9003) == 'X');
	CHECK(read(other, map + 16384, 30) == 30);
	CHECK(memcmp(map + 16384, map, 30) == 0);
	FAILS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0) == MAP_FAILED ? -1 : 0, EACCES);
	FAILS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 999, 0) == MAP_FAILED ? -1 : 0, EBADF);
	char *part = mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 4096);
	CHECK(part != MAP_FAILED && part[0] == map[4096]);
	map[4100] = 'P';
	CHECK(part[4] == 'P');
	map[1] = 'z';
	CHECK(munmap(map, 4096) == 0);
	CHECK(at(other, 1) == 'z');
	map[4096] = 'Q';
	CHECK(munmap(map + 4096, SIZE - 4096) == 0);
	CHECK(at(other, 4096) == 'Q');
	CHECK(munmap(part, 4096) == 0);
	say("%llx\n", (unsigned long long)sum(0, data, SIZE));
	say("ok shared_file\n");
	return 0;
}
