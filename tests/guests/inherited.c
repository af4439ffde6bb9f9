/* Descriptor 7 was opened by the caller, 8 is to write, 9 is not there. */
#include "guest.h"
int main(void)
{
	char text[64] = "";
	ssize_t n = read(7, text, sizeof text - 1);
	CHECK(n > 0);
	say("seven says %s", text);
	write_all(8, "eight\n", 6);
	FAILS(fcntl(9, F_GETFD), EBADF);
	CHECK(open("/dev/null", O_RDONLY) == 3);
	CHECK(lseek(7, 0, SEEK_CUR) == n);
	return 0;
}
