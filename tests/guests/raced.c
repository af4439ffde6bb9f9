/* A race that shows: one process counts in shared memory without a call, another reads how far it has
 * come and says it. They share it by its name, since the first has begun to count. */
#include "guest.h"
#include <sys/mman.h>
static struct { volatile int ready, told; volatile long count; } *memory;
static char name[40];
static void *mapped(void)
{
	int fd = shm_open(name, O_RDWR, 0);
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(at != MAP_FAILED && close(fd) == 0);
	return at;
}
int main(void)
{
	snprintf(name, sizeof name, "/guest-r-%d", getpid());
	int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600), ready = 0;
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	pid_t child = fork();
	if (child == 0) {
		memory = mapped();
		memory->ready = 1;
		CHECK(pread(fd, &ready, sizeof ready, 0) == sizeof ready && ready == 1);
		while (!memory->told)
			memory->count++;
		_exit(0);
	}
	while (!ready) {
		CHECK(pread(fd, &ready, sizeof ready, 0) == sizeof ready);
		usleep(1000);
	}
	memory = mapped();
	CHECK(shm_unlink(name) == 0);
	long count = memory->count;
	memory->told = 1;
	say("%ld\n", count);
	CHECK(reap(child) == 0);
	return 0;
}
