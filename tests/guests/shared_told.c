/* A process that shares no memory but the file system writes to a mapped file and says so: whoever has it
 * mapped sees it then; and the other way round. The two are children of one that maps nothing. */
#include "guest.h"
#include <sys/mman.h>
enum { ROUNDS = 100 };
int main(void)
{
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(ftruncate(fd, 3 * 4096) == 0);
	close(fd);
	int there[2], back[2], number, seen;
	CHECK(pipe(there) == 0 && pipe(back) == 0);
	pid_t mapper = fork();
	if (mapper == 0) {
		fd = open("mapped", O_RDWR);
		int *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		CHECK(map != MAP_FAILED);
		for (int i = 0; i < ROUNDS; i++) {
			read_all(there[0], &number, sizeof number);
			CHECK(map[1100] == number);
			map[2] = number * 3;
			write_all(back[1], &number, sizeof number);
		}
		_exit(0);
	}
	pid_t writer = fork();
	if (writer == 0) {
		fd = open("mapped", O_RDWR);
		for (int i = 0; i < ROUNDS; i++) {
			CHECK(pwrite(fd, &i, sizeof i, 4400) == sizeof i);
			write_all(there[1], &i, sizeof i);
			read_all(back[0], &number, sizeof number);
			CHECK(number == i && pread(fd, &seen, sizeof seen, 8) == sizeof seen);
			CHECK(seen == i * 3);
			if (i % 10 == 0) {
				CHECK(lseek(fd, 4400, SEEK_SET) == 4400 && read(fd, &seen, sizeof seen) == sizeof seen);
				CHECK(seen == i && write(fd, &i, sizeof i) == sizeof i);
			}
		}
		_exit(0);
	}
	exited_with(mapper, 0);
	exited_with(writer, 0);
	say("ok shared_told\n");
	return 0;
}
