/* Memory that a process shares with itself: anonymous and shared, a memfd that is mapped twice and written through
 * its descriptor, one whose descriptor is closed, one that nobody maps, and a file that is mapped for writing
 * while a second thread writes it, too. What the file and `out` hold at the end does not depend on who was fast. */
#include "threads.h"
#include <sys/mman.h>

enum { LEN = 64 << 10, ROUNDS = 250 };

static unsigned char *anon, *twice, *again, *hidden, *file;
static int memory, loose, out;

static void doze(void)
{
	pause_unless_hurried(4000);
}

static void *other(void *with)
{
	for (int i = 0; i < ROUNDS; i++) {
		anon[LEN - 1 - i]++;
		file[8192 + i] = i + 1;
		doze();
	}
	return with;
}

static void *map(int fd, int length)
{
	int kind = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, kind, fd, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

#define total(at, n) ((unsigned)sum(1, at, n))

int main(void)
{
	out = open("out", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	anon = map(-1, LEN);
	memory = memfd_create("mine", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(memory >= 0 && ftruncate(memory, LEN) == 0);
	CHECK(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
	twice = map(memory, LEN);
	again = map(memory, LEN);
	int closed = memfd_create("closed", MFD_CLOEXEC);
	CHECK(closed >= 0 && ftruncate(closed, LEN) == 0);
	hidden = map(closed, LEN);
	close(closed);
	loose = memfd_create("loose", 0);
	int f = open("out.file", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(f >= 0 && ftruncate(f, LEN) == 0);
	file = map(f, LEN);
	pthread_t thread = begin(other, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		anon[i] = i;
		twice[i] = i * 3;
		CHECK(again[i] == (unsigned char)(i * 3));
		hidden[i * 7] = i;
		file[i] = i * 5;
		unsigned char c = i;
		CHECK(pwrite(memory, &c, 1, 4096 + i) == 1);
		CHECK(twice[4096 + i] == c && again[4096 + i] == c);
		CHECK(write(loose, &c, 1) == 1);
		CHECK(pread(f, &c, 1, i) == 1 && c == (unsigned char)(i * 5));
		c = i + 9;
		CHECK(pwrite(f, &c, 1, 16384 + i) == 1 && file[16384 + i] == c);
		dprintf(out, "%d %u %u\n", i, total(twice, 8192), total(hidden, 2048));
		doze();
	}
	CHECK(ended(thread) == NULL);
	unsigned char bytes[ROUNDS];
	CHECK(pread(loose, bytes, ROUNDS, 0) == ROUNDS && lseek(loose, 0, SEEK_CUR) == ROUNDS);
	CHECK(fcntl(memory, F_GET_SEALS) == F_SEAL_SHRINK);
	FAILS(ftruncate(memory, 0), EPERM);
	CHECK(msync(file, LEN, MS_SYNC) == 0);
	dprintf(out, "%u %u %u %u\n", total(anon, LEN), total(again, LEN),
		total(hidden, LEN), total(bytes, ROUNDS));
	dprintf(out, "done\n");
	return 0;
}
