/* A file in memory, mapped twice, written by parent and child in turn, and given on by a descriptor. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	int fd = memfd_create("words", MFD_CLOEXEC);
	CHECK(fd >= 0 && ftruncate(fd, 3 * 4096) == 0);
	char *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && map[0] == 0);
	strcpy(map, "from memory");
	char back[32] = "";
	CHECK(pread(fd, back, 12, 0) == 12);
	say("%s\n", back);
	for (int i = 0; i < 4; i++) {
		pid_t child = fork();
		if (child == 0) {
			char *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
			CHECK(own != MAP_FAILED);
			own[i] = 'a' + i;
			map[2 * 4096 + i] = 'A' + i;
			for (int k = 0; k < 20; k++) {
				CHECK(pwrite(fd, "0123456789" + k % 10, 1, 90) == 1 && map[90] == '0' + k % 10);
				map[91] = 'a' + k;
				CHECK(pread(fd, back, 1, 91) == 1 && *back == 'a' + k);
			}
			CHECK(pwrite(fd, "wxyz" + i, 1, 100 + i) == 1);
			_exit(0);
		}
		exited_with(child, 0);
		say("%s %s %s\n", map + 4096, map + 2 * 4096, map + 100);
	}
	CHECK(lseek(fd, 0, SEEK_END) == 3 * 4096);
	CHECK(munmap(map, 3 * 4096) == 0);
	CHECK(pread(fd, back, 5, 4096) == 5);
	say("%s\n", back);
	int out = open("out", O_CREAT | O_WRONLY, 0644);
	off_t from = 0;
	CHECK(copy_file_range(fd, &from, out, NULL, 3 * 4096, 0) > 0 || errno == EXDEV);
	say("ok shared_memfd\n");
	return 0;
}
