/* sendfile, splice, tee, vmsplice and copy_file_range move bytes without the program. */
#include "guest.h"
#include <sys/sendfile.h>
#include <sys/uio.h>
static uint64_t sum_of(const char *name)
{
	static char block[300000];
	int fd = open(name, O_RDONLY);
	CHECK(fd >= 0);
	ssize_t got = read(fd, block, sizeof block);
	close(fd);
	return sum(0, block, got);
}
int main(void)
{
	enum { SIZE = 200000 };
	static char data[SIZE];
	for (int i = 0; i < SIZE; i++)
		data[i] = i * 7 % 253;
	int source = open("source", O_CREAT | O_RDWR | O_TRUNC, 0644);
	write_all(source, data, SIZE);
	int to = open("by-sendfile", O_CREAT | O_RDWR | O_TRUNC, 0644);
	off_t at = 1000;
	CHECK(sendfile(to, source, &at, 50000) == 50000 && at == 51000);
	CHECK(lseek(source, 0, SEEK_SET) == 0);
	CHECK(sendfile(to, source, NULL, 1000) == 1000 && lseek(source, 0, SEEK_CUR) == 1000);
	say("sendfile %llx\n", (unsigned long long)sum_of("by-sendfile"));
	int copy = open("by-copy", O_CREAT | O_RDWR | O_TRUNC, 0644);
	loff_t in = 100, out = 0;
	ssize_t n, total = 0;
	while (total < 60000 && (n = copy_file_range(source, &in, copy, &out, 60000 - total, 0)) > 0)
		total += n;
	CHECK(total == 60000 && in == 60100 && out == 60000);
	say("copy %llx\n", (unsigned long long)sum_of("by-copy"));
	int a[2], b[2];
	CHECK(pipe(a) == 0 && pipe(b) == 0);
	loff_t offset = 5000;
	CHECK(splice(source, &offset, a[1], NULL, 30000, 0) == 30000 && offset == 35000);
	CHECK(tee(a[0], b[1], 30000, 0) == 30000);
	int spliced = open("by-splice", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(splice(a[0], NULL, spliced, NULL, 30000, SPLICE_F_MOVE) == 30000);
	say("splice %llx\n", (unsigned long long)sum_of("by-splice"));
	CHECK(splice(b[0], NULL, spliced, NULL, 30000, 0) == 30000);
	struct iovec part = { data, 4096 };
	CHECK(vmsplice(a[1], &part, 1, 0) == 4096);
	static char back[4096];
	read_all(a[0], back, 4096);
	CHECK(memcmp(back, data, 4096) == 0);
	say("ok moves\n");
	return 0;
}
