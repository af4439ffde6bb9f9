/* A program whose calls are its own, as an emulator's or valgrind's: to it the C
 * library is data, which stays what its file has however many files it reads and
 * writes. */
#include "guest.h"
static long own(long number, long a, const void *b, long c)
{
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}
/* Counts the bytes of the C library's code that differ from its file. */
static long differing(void)
{
	static char maps[1 << 16];
	static unsigned char bytes[1 << 14];
	long length = 0, got, differ = 0, compared = 0;
	int fd = open("/proc/self/maps", O_RDONLY);
	CHECK(fd >= 0);
	while ((got = own(SYS_read, fd, maps + length, sizeof maps - 1 - length)) > 0)
		length += got;
	for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long from, to, offset;
		char path[256];
		if (sscanf(line, "%lx-%lx r-xp %lx %*s %*s %255s", &from, &to, &offset, path) != 4 ||
		    !strstr(path, "/libc"))
			continue;
		int file = open(path, O_RDONLY);
		CHECK(file >= 0);
		while (from < to) {
			got = pread(file, bytes, sizeof bytes, offset);
			if (got <= 0)
				break;
			for (long i = 0; i < got && from + i < to; i++)
				differ += ((unsigned char *)from)[i] != bytes[i];
			compared += got;
			from += got;
			offset += got;
		}
		close(file);
	}
	close(fd);
	CHECK(compared > 1 << 16);
	return differ;
}
int main(void)
{
	char bytes[16] = "fifteen bytes..";
	int fd = open("translator.out", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	for (int i = 0; i < 3000; i++)
		CHECK(own(SYS_write, fd, bytes, 15) == 15);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	for (int i = 0; i < 3000; i++)
		CHECK(own(SYS_read, fd, bytes, 15) == 15);
	say("%s\n", bytes);
	say("differ: %ld\n", differing());
	CHECK(unlink("translator.out") == 0);
	return 0;
}
