/* Memory from several threads at once: blocks that keep what was written to
 * them, some freed by another thread, mappings made and undone, stacks of a size
 * asked for. */
#include "threads.h"
#include <sys/mman.h>
enum { THREADS = 4, BLOCKS = 64, ROUNDS = 1500 };
static _Atomic(char *) handed[THREADS];
static uint64_t sums[THREADS];
static unsigned draw(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(*state >> 33);
}
static void *storms(void *number)
{
	long me = (long)number;
	uint64_t state = (uint64_t)me, hash = 0;
	unsigned char *blocks[BLOCKS] = { 0 };
	size_t sizes[BLOCKS] = { 0 };
	for (int i = 0; i < ROUNDS; i++) {
		unsigned at = draw(&state) % BLOCKS;
		for (size_t j = 0; j < sizes[at]; j += 97)
			CHECK(blocks[at][j] == (unsigned char)(at + sizes[at]));
		size_t size = i % 100 ? draw(&state) % 3000 + 1 : 300000;
		if (draw(&state) % 4 == 0) {
			blocks[at] = realloc(blocks[at], size);
		} else {
			free(blocks[at]);
			blocks[at] = malloc(size);
		}
		CHECK(blocks[at]);
		sizes[at] = size;
		memset(blocks[at], (int)(at + size), size);
		hash = sum(hash, &size, sizeof size);
		/* Another thread frees it. */
		if (i % 10 == 0)
			free(atomic_exchange(&handed[(me + 1) % THREADS], strdup("handed on")));
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	sums[me] = hash;
	return number;
}
static void *maps(void *number)
{
	for (int i = 1; i <= 100; i++) {
		size_t size = 4096ul * (i % 7 + 1);
		char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(at != MAP_FAILED && at[0] == 0 && at[size - 1] == 0);
		memset(at, i, size);
		at = mremap(at, size, size * 2, MREMAP_MAYMOVE);
		CHECK(at != MAP_FAILED && at[size - 1] == i && at[size] == 0);
		CHECK(mprotect(at, 4096, PROT_READ) == 0 && at[0] == i);
		CHECK(munmap(at, size * 2) == 0);
	}
	return number;
}
static void *descends(void *kilobytes)
{
	volatile char room[1024];
	room[0] = (char)(long)kilobytes;
	room[1023] = 1;
	if (kilobytes)
		CHECK(descends((char *)kilobytes - 1) == (char *)kilobytes - 1);
	CHECK(room[0] == (char)(long)kilobytes && room[1023] == 1);
	return kilobytes;
}
int main(void)
{
	pthread_t threads[3];
	pthread_attr_t attr;
	all(THREADS, storms);
	say("sizes %016lx\n", sum(0, sums, sizeof sums));
	all(THREADS, maps);
	say("mapped\n");
	OK(pthread_attr_init(&attr));
	OK(pthread_attr_setstacksize(&attr, 64 << 20));
	for (long i = 0; i < 3; i++)
		OK(pthread_create(&threads[i], &attr, descends, (void *)20000));
	for (long i = 0; i < 3; i++)
		CHECK(ended(threads[i]) == (void *)20000);
	for (int i = 0; i < THREADS; i++)
		free(handed[i]);
	say("descended\n");
	return 0;
}
