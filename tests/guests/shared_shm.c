/* POSIX shared memory: made by name, mapped by parent and child each for itself, unlinked while it is
 * mapped. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	char name[64];
	snprintf(name, sizeof name, "/chameleon-test-%d", getpid());
	int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
	int *mine = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(mine != MAP_FAILED);
	close(fd);
	mine[0] = 5;
	pid_t child = fork();
	if (child == 0) {
		CHECK(munmap(mine, 8192) == 0);
		int again = shm_open(name, O_RDWR, 0);
		int *own = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
		CHECK(own != MAP_FAILED && own[0] == 5);
		own[1] = own[0] * 11;
		_exit(0);
	}
	exited_with(child, 0);
	say("%d %d\n", mine[0], mine[1]);
	CHECK(shm_unlink(name) == 0);
	mine[1500] = 3;
	child = fork();
	if (child == 0) {
		mine[1500] *= 7;
		_exit(0);
	}
	exited_with(child, 0);
	say("%d\n", mine[1500]);
	CHECK(munmap(mine, 8192) == 0);
	FAILS(shm_open(name, O_RDWR, 0), ENOENT);
	say("ok shared_shm\n");
	return 0;
}
