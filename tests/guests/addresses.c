/* Code, data, stack, heap, maps and break stand at the same addresses in all copies. */
#include "guest.h"
#include <sys/mman.h>
static int data = 1;
int main(int argc, char **argv)
{
	int local = 0;
	void *list[16];
	int n = 0;
	list[n++] = &local;
	list[n++] = &data;
	list[n++] = (void *)main;
	list[n++] = (void *)printf;
	list[n++] = argv;
	list[n++] = malloc(10);
	list[n++] = malloc(1000000);
	list[n++] = sbrk(0);
	CHECK((list[n++] = sbrk(8192)) != (void *)-1);
	list[n++] = sbrk(0);
	list[n++] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	list[n++] = mmap(NULL, 1 << 22, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int fd = open(argv[0], O_RDONLY);
	CHECK(fd >= 0);
	list[n++] = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	for (int i = 0; i < n; i++) {
		CHECK(list[i] != MAP_FAILED);
		voted(&list[i], sizeof list[i]);
	}
	if (argc > 1)
		for (int i = 0; i < n; i++)
			say("%p\n", list[i]);
	say("ok addresses\n");
	return 0;
}
