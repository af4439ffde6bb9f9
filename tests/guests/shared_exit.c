/* What was changed in memory is in the file after an end without any call that says so: by exit, exec,
 * or a signal (argument e, x, s). */
#include "guest.h"
#include <sys/mman.h>
int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "e";
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	CHECK(ftruncate(fd, 3 * 4096) == 0);
	char *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	close(fd);
	say("mapped\n");
	strcpy(map, "at the start");
	strcpy(map + 2 * 4096 + 50, "at the end");
	if (*how == 'x')
		execlp("cat", "cat", "mapped", NULL);
	if (*how == 's')
		*(volatile char *)0 = 1;
	return 3;
}
