/* Asynchronous I/O (io_setup(2)) is answered as by a kernel without it; the program goes on. */
#include "guest.h"
int main(void)
{
	long context = 0;
	FAILS(syscall(SYS_io_setup, 8, &context), ENOSYS);
	say("ok aio\n");
	return 0;
}
