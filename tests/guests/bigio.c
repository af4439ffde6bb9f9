/* One call of 10 MB to a file and back; many small calls; zero and odd lengths. */
#include "guest.h"
int main(void)
{
	enum { SIZE = 10 << 20 };
	unsigned char *big = malloc(SIZE + 1);
	for (int i = 0; i < SIZE; i++)
		big[i] = (unsigned)i * 2246822519u >> 23;
	int fd = open("big", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(write(fd, big, SIZE) == SIZE);
	uint64_t hash = sum(0, big, SIZE);
	memset(big, 0, SIZE);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && read(fd, big, SIZE + 1) == SIZE);
	CHECK(sum(0, big, SIZE) == hash);
	CHECK(read(fd, big, 100) == 0 && read(fd, big, 0) == 0 && write(fd, big, 0) == 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	FAILS(read(fd, (void *)16, 10), EFAULT);
	FAILS(write(fd, (void *)16, 10), EFAULT);
	FAILS(write(-1, big, 10), EBADF);
	/* A buffer whose end is not mapped: as much as fits, or EFAULT, but no harm. */
	ssize_t part = write(fd, sbrk(0) - 100, 100000);
	CHECK(part == -1 || part > 0);
	say("%llx\n", (unsigned long long)hash);
	CHECK(ftruncate(fd, 1000) == 0);
	int small = open("small", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	for (int i = 0; i < 5000; i++)
		CHECK(write(small, big + i, 1 + i % 3) == 1 + i % 3);
	FILE *stream = fopen("stream", "w+");
	for (int i = 0; i < 20000; i++)
		fprintf(stream, "%d ", i);
	rewind(stream);
	int value, count = 0;
	while (fscanf(stream, "%d", &value) == 1)
		CHECK(value == count++);
	say("numbers %d\n", count);
	return fclose(stream);
}
