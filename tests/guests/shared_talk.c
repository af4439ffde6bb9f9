/* Parent and child write shared memory in turn and tell each other through pipes; one of three ways to
 * share it: anonymous, file, segment. Whoever has the word has all that the other one wrote. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/shm.h>

enum { ROUNDS = 150, WORDS = 3000 };

static uint32_t *memory(const char *how)
{
	if (*how == 's') {
		int id = shmget(IPC_PRIVATE, WORDS * 4, IPC_CREAT | 0600);
		void *at = shmat(id, NULL, 0);
		CHECK(id >= 0 && at != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
		return at;
	}
	int fd = *how == 'f' ? open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644) : -1;
	CHECK(fd < 0 || ftruncate(fd, WORDS * 4) == 0);
	void *at = mmap(NULL, WORDS * 4, PROT_READ | PROT_WRITE,
			fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

static void work(uint32_t *at, uint32_t seed)
{
	for (uint32_t i = 0; i < WORDS; i++)
		at[i] = at[(i * 7 + seed) % WORDS] * 31 + seed + i;
}

int main(int argc, char **argv)
{
	uint32_t *at = memory(argc > 1 ? argv[1] : "a");
	int there[2], back[2];
	char word;
	CHECK(pipe(there) == 0 && pipe(back) == 0);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < ROUNDS; i++) {
			CHECK(read(there[0], &word, 1) == 1);
			work(at, 2 * i + 1);
			CHECK(write(back[1], &word, 1) == 1);
		}
		_exit(0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		work(at, 2 * i);
		CHECK(write(there[1], "x", 1) == 1 && read(back[0], &word, 1) == 1);
		if (i % 30 == 0)
			say("%x\n", at[5]);
	}
	exited_with(child, 0);
	say("%llx\nok shared_talk\n", (unsigned long long)sum(0, at, WORDS * 4));
	return 0;
}
