/* Pipes: blocking, full, nonblocking, end of file, packet mode, 3 MB through one. */
#include "guest.h"
#include <sys/ioctl.h>
int main(void)
{
	int ends[2];
	char block[65536];
	CHECK(pipe2(ends, O_NONBLOCK) == 0);
	memset(block, 'p', sizeof block);
	FAILS(read(ends[0], block, 1), EAGAIN);
	size_t held = 0;
	ssize_t put;
	while ((put = write(ends[1], block, 4096)) > 0)
		held += put;
	CHECK(errno == EAGAIN);
	say("a pipe holds %zu, size %d\n", held, fcntl(ends[1], F_GETPIPE_SZ));
	int ready = 0;
	CHECK(ioctl(ends[0], FIONREAD, &ready) == 0 && ready == (int)held);
	CHECK(fcntl(ends[1], F_SETPIPE_SZ, 1 << 17) >= 1 << 17);
	close(ends[1]);
	while ((put = read(ends[0], block, sizeof block)) > 0)
		held -= put;
	CHECK(put == 0 && held == 0);
	close(ends[0]);

	enum { SIZE = 3 << 20 };
	CHECK(pipe(ends) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	unsigned char *big = malloc(SIZE);
	if (child == 0) {
		close(ends[0]);
		for (int i = 0; i < SIZE; i++)
			big[i] = i * 2654435761u >> 24;
		CHECK(write(ends[1], big, SIZE) == SIZE);
		_exit(0);
	}
	close(ends[1]);
	uint64_t hash = 0;
	size_t total = 0;
	ssize_t got;
	while ((got = read(ends[0], big, 50000)) > 0) {
		hash = sum(hash, big, got);
		total += got;
	}
	exited_with(child, 0);
	say("%zu bytes, %llx\n", total, (unsigned long long)hash);
	CHECK(pipe2(ends, O_DIRECT) == 0);
	CHECK(write(ends[1], "one", 3) == 3 && write(ends[1], "three", 5) == 5);
	CHECK(read(ends[0], block, 100) == 3 && read(ends[0], block, 100) == 5);
	FAILS(write(ends[0], "x", 1), EBADF);
	FAILS(pipe((int *)8), EFAULT);
	say("ok pipes\n");
	return 0;
}
