/* Files that are read and written past the page cache: buffers must be aligned, and are. */
#include "guest.h"
#include <sys/uio.h>

int main(void)
{
	char *room;
	CHECK(posix_memalign((void **)&room, 4096, 5 << 20) == 0);
	int fd = open("direct", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);
	if (fd < 0) {
		say("no direct files here\n");
		return 0;
	}
	static const size_t sizes[] = { 4096, 8192, 65536, 1 << 20, 3 << 20 };
	uint64_t s = 0;
	for (int i = 0; i < 5; i++) {
		memset(room, 'a' + i, sizes[i]);
		for (int n = 0; n < 12; n++)
			CHECK(write(fd, room, sizes[i]) == (ssize_t)sizes[i]);
		CHECK(pwrite(fd, room, sizes[i], 0) == (ssize_t)sizes[i]);
		struct iovec two[2] = { { room, 4096 }, { room + 8192, 4096 } };
		CHECK(writev(fd, two, 2) == 8192);
	}
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	for (int i = 0; i < 5; i++) {
		for (int n = 0; n < 12; n++) {
			CHECK(read(fd, room, sizes[i]) == (ssize_t)sizes[i]);
			s = sum(s, room, sizes[i]);
		}
		CHECK(pread(fd, room, sizes[i], 4096) == (ssize_t)sizes[i]);
		struct iovec two[2] = { { room + 4096, 4096 }, { room, 4096 } };
		CHECK(readv(fd, two, 2) == 8192);
	}
	errno = 0;
	ssize_t odd = read(fd, room + 1, 4096);
	say("odd %zd %d\n", odd, odd < 0 ? errno : 0);
	say("ok direct %llx\n", (unsigned long long)s);
	return 0;
}
