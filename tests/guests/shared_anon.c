/* Anonymous shared memory: what a child writes its parent reads, in pieces mapped, moved, grown and
 * unmapped; a grandchild over an exec has none of it. */
#include "guest.h"
#include <sys/mman.h>

static volatile int *shared(size_t length)
{
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

int main(void)
{
	volatile int *count = shared(4096), *big = shared(3 << 20);
	big[700000] = 7;
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();
		if (child == 0) {
			*count += 10 + i;
			big[i * 1000] = getpid() != 0;
			big[700000]++;
			_exit(0);
		}
		exited_with(child, 0);
		say("%d %d %d\n", *count, big[i * 1000], big[700000]);
	}
	pid_t child = fork();
	if (child == 0) {
		pid_t inner = fork();
		if (inner == 0) {
			*count = -1;
			_exit(0);
		}
		exited_with(inner, 0);
		*count *= 2;
		_exit(0);
	}
	exited_with(child, 0);
	say("%d\n", *count);
	volatile int *moved = mremap((void *)big, 3 << 20, 8 << 20, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED && moved[700000] == 12);
	CHECK(munmap((void *)count, 4096) == 0);
	CHECK(mprotect((void *)moved, 4096, PROT_READ) == 0);
	child = fork();
	if (child == 0) {
		moved[700001] = moved[0] + 41;
		_exit(0);
	}
	exited_with(child, 0);
	say("%d\n", moved[700001]);
	CHECK(munmap((void *)moved, 3 << 20) == 0);
	for (int i = 0; i < 20; i++) {
		volatile int *again = shared(1 << 20);
		CHECK(again[5] == 0);
		again[5] = i;
		CHECK(munmap((void *)again, 1 << 20) == 0);
	}
	int zero = open("/dev/zero", O_RDWR);
	volatile int *nothing = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
	CHECK(nothing != MAP_FAILED && nothing[9] == 0);
	child = fork();
	if (child == 0) {
		nothing[9] = 9;
		_exit(0);
	}
	exited_with(child, 0);
	say("%d\n", nothing[9]);
	FAILS(mmap(NULL, 0, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), EINVAL);
	say("ok shared_anon\n");
	return 0;
}
