/* Two mappings of one file, at other offsets, by other descriptors, one at an address of the program's
 * choice: each sees the other's changes at once. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(ftruncate(fd, 4 * 4096) == 0);
	char *before = mmap(NULL, 2 * 4096, PROT_READ, MAP_SHARED, fd, 4096);
	char *one = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int again = open("mapped", O_RDWR);
	char *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 2 * 4096);
	CHECK(one != MAP_FAILED && two != MAP_FAILED);
	char *room = mmap(NULL, 8 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *three = mmap(room + 4096, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 4096);
	CHECK(three == room + 4096);
	char *look = mmap(NULL, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(look != MAP_FAILED);
	strcpy(one + 2 * 4096, "one");
	say("%s %s %s %s\n", two, three + 4096, look + 2 * 4096, before + 4096);
	strcpy(three + 4096, "three");
	say("%s %s\n", two, one + 2 * 4096);
	strcpy(two + 10, "two");
	CHECK(munmap(two, 4096) == 0 && close(again) == 0);
	say("%s %s\n", one + 2 * 4096 + 10, look + 2 * 4096 + 10);
	CHECK(mremap(three, 4096, 4096, MREMAP_MAYMOVE) == three);
	CHECK(munmap(three, 2 * 4096) == 0);
	strcpy(one + 4096, "last");
	voted(look + 4096, 5);
	say("%s\nok shared_two\n", look + 4096);
	return 0;
}
