/* Parent and child count in one shared page. */
#include "guest.h"
#include <sys/mman.h>
int main(void)
{
	volatile int *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		say("no shared page: %s\n", strerror(errno));
		return 18;
	}
	pid_t child = fork();
	if (child == 0) {
		*page = 1234;
		_exit(0);
	}
	exited_with(child, 0);
	say("the child wrote %d\n", *page);
	return 0;
}
