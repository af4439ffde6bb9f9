/* memfd: anonymous files, seals, and running one. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	int fd = memfd_create("note", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(fd >= 0);
	write_all(fd, "memory", 6);
	char text[16] = "", link[64], path[64];
	CHECK(pread(fd, text, 15, 0) == 6);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, link, sizeof link - 1);
	CHECK(n > 0);
	link[n] = 0;
	say("%s in %s\n", text, link);
	CHECK(ftruncate(fd, 100) == 0 && lseek(fd, 0, SEEK_END) == 100);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
	FAILS(write(fd, "x", 1), EPERM);
	FAILS(ftruncate(fd, 1), EPERM);
	say("seals %#x\n", fcntl(fd, F_GET_SEALS));
	char *map = mmap(NULL, 100, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED && memcmp(map, "memory", 6) == 0);
	say("ok memfds\n");
	return 0;
}
