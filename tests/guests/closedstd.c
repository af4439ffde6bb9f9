/* With descriptors 0 and 1 closed by the caller the next opens take their numbers. */
#include "guest.h"
int main(void)
{
	FAILS(fcntl(0, F_GETFD), EBADF);
	FAILS(write(1, "x", 1), EBADF);
	CHECK(open("zero", O_CREAT | O_RDWR, 0644) == 0 && open("one", O_CREAT | O_RDWR, 0644) == 1);
	say("written to the file\n");
	dprintf(2, "standard error is still there\n");
	return 4;
}
