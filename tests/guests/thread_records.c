/* Several threads write records to one pipe and to one file: none is torn, each
 * thread's come in its order, none is lost; and one pipe that several read. */
#include "threads.h"
enum { WRITERS = 4, EACH = 100 };
struct record {
	int writer, number;
	char fill[56];
};
static int ends[2], file;
static atomic_long taken;
static struct record record(int writer, int number)
{
	struct record is = { writer, number, { 0 } };
	memset(is.fill, 'a' + (writer * 7 + number) % 26, sizeof is.fill);
	return is;
}
static void *writes(void *number)
{
	for (int i = 0; i < EACH; i++) {
		struct record is = record((int)(long)number, i);
		CHECK(write(ends[1], &is, sizeof is) == sizeof is);
		CHECK(write(file, &is, sizeof is) == sizeof is);
	}
	return number;
}
static uint64_t reads(int fd)
{
	struct record is, wanted;
	int next[WRITERS] = { 0 };
	uint64_t sums[WRITERS] = { 0 };
	for (int i = 0; i < WRITERS * EACH; i++) {
		read_all(fd, &is, sizeof is);
		CHECK(is.writer >= 0 && is.writer < WRITERS && is.number == next[is.writer]++);
		wanted = record(is.writer, is.number);
		CHECK(memcmp(&is, &wanted, sizeof is) == 0);
		sums[is.writer] = sum(sums[is.writer], &is, sizeof is);
	}
	return sum(0, sums, sizeof sums);
}
static void *takes(void *number)
{
	int is;
	ssize_t got;
	while ((got = read(ends[0], &is, sizeof is)) > 0) {
		CHECK(got == sizeof is);
		taken += is;
	}
	CHECK(got == 0);
	return number;
}
int main(void)
{
	pthread_t threads[WRITERS];
	CHECK(pipe(ends) == 0);
	/* What it leaves has no order to compare. */
	CHECK((file = open("records", O_RDWR | O_APPEND | O_CREAT | O_TRUNC, 0600)) >= 0);
	CHECK(unlink("records") == 0);
	for (long i = 0; i < WRITERS; i++)
		threads[i] = begin(writes, (void *)i);
	say("pipe %016lx\n", reads(ends[0]));
	for (int i = 0; i < WRITERS; i++)
		ended(threads[i]);
	CHECK(lseek(file, 0, SEEK_SET) == 0);
	say("file %016lx\n", reads(file));
	for (long i = 0; i < WRITERS; i++)
		threads[i] = begin(takes, (void *)i);
	for (int i = 0; i < 1000; i++)
		CHECK(write(ends[1], &i, sizeof i) == sizeof i);
	close(ends[1]);
	for (int i = 0; i < WRITERS; i++)
		ended(threads[i]);
	say("taken %ld\n", taken);
	return 0;
}
