/* Goes from directory to directory, hands bytes from file to file, and works on files that have no
 * name any more. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
static char block[3 << 20];
int main(void)
{
	CHECK(mkdir("a", 0755) == 0 && mkdir("a/b", 0755) == 0);
	int top = open(".", O_RDONLY | O_DIRECTORY), log = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
	CHECK(top >= 0 && log >= 0);
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (char)(i * 31 >> 7);
	for (int i = 0; i < 8; i++) {
		char name[32], path[200];
		CHECK(chdir(i % 2 ? "a" : "a/b") == 0);
		CHECK(getcwd(path, sizeof path) != NULL);
		int here = open(".", O_RDONLY | O_DIRECTORY);
		snprintf(name, sizeof name, "file%d", i);
		int fd = open(name, O_CREAT | O_RDWR, 0640);
		CHECK(here >= 0 && fd >= 0);
		write_all(fd, block, sizeof block - i * 1000);
		CHECK(fchdir(top) == 0 && fchdir(here) == 0 && fchdir(top) == 0);
		close(here);
		/* Through the kernel, to a file and to a pipe. */
		int copy = open(i % 2 ? "copy" : "other", O_CREAT | O_RDWR | O_TRUNC, 0600), ends[2];
		off_t from = 4096;
		CHECK(copy >= 0 && pipe(ends) == 0);
		CHECK(sendfile(copy, fd, &from, 100000) == 100000 && from == 104096);
		CHECK(lseek(copy, 0, SEEK_SET) == 0);
		CHECK(splice(copy, NULL, ends[1], NULL, 30000, 0) == 30000);
		read_all(ends[0], block + 100, 30000);
		CHECK(copy_file_range(fd, &(off_t){ 0 }, copy, &(off_t){ 200000 }, 5000, 0) == 5000);
		/* A file without a name, one without a disk. */
		int gone = open("gone", O_CREAT | O_RDWR, 0600), memory = memfd_create("memory", 0);
		CHECK(gone >= 0 && unlink("gone") == 0 && memory >= 0);
		write_all(gone, block, 70000);
		CHECK(ftruncate(memory, 50000) == 0 && pwrite(memory, block, 1000, 20000) == 1000);
		CHECK(pread(gone, block, 1000, 60000) == 1000 && pread(memory, block + 1000, 2000, 19500) == 2000);
		uint64_t hash = sum(i, block, 100000);
		int n = snprintf(name, sizeof name, "%d %llx\n", i, (unsigned long long)hash);
		write_all(log, name, n);
		write_all(1, name, n);
		CHECK(syscall(SYS_close_range, log + 1, ~0u, 0) == 0);
	}
	CHECK(rename("copy", "a/copy") == 0 && symlink("a/copy", "link") == 0);
	return 4;
}
