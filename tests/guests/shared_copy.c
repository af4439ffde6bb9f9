/* A call on two files that are both mapped: what was stored into the one is what is copied, and is
 * seen in the mapping of the other. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
#define SIZE (4 * 4096)
static char *mapped(int fd)
{
	CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
	char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(at != MAP_FAILED);
	return at;
}
int main(void)
{
	int one = open("one", O_CREAT | O_RDWR | O_TRUNC, 0644);
	int two = open("two", O_CREAT | O_RDWR | O_TRUNC, 0644);
	char *a = mapped(one), *b = mapped(two);
	for (int round = 0; round < 3; round++) {
		off_t from = 0, to = 0;
		sprintf(a, "first of %d", round);
		strcpy(b + 100, "stays");
		CHECK(copy_file_range(one, &from, two, &to, 50, 0) == 50);
		say("%s, %s\n", b, b + 100);

		/* The other way, with what lies beside it changed as well. */
		sprintf(b, "back %d", round);
		sprintf(a + 100, "beside %d", round);
		from = 0;
		CHECK(lseek(one, 200, SEEK_SET) == 200);
		CHECK(sendfile(one, two, &from, 50) == 50);
		say("%s, %s, %s\n", a, a + 100, a + 200);

		/* Within one file. */
		strcpy(a + 4096, "within");
		from = 4096, to = 2 * 4096;
		CHECK(copy_file_range(one, &from, one, &to, 50, 0) == 50);
		say("%s\n", a + 2 * 4096);

		/* Through a pipe: one end of each call is a mapped file. */
		int ends[2];
		CHECK(pipe(ends) == 0);
		sprintf(a, "by a pipe %d", round);
		from = 0, to = 300;
		CHECK(splice(one, &from, ends[1], NULL, 50, 0) == 50);
		CHECK(splice(ends[0], NULL, two, &to, 50, 0) == 50);
		say("%s\n", b + 300);
		CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
	}
	return 0;
}
