/* Every source of randomness gives all copies the same bytes. */
#include "guest.h"
#include <sys/auxv.h>
#include <sys/random.h>
int main(void)
{
	unsigned char a[64], b[64];
	const unsigned char *at = (const void *)getauxval(AT_RANDOM);
	CHECK(at != NULL);
	voted(at, 16);
	CHECK(getrandom(a, sizeof a, 0) == sizeof a);
	CHECK(getrandom(b, sizeof b, GRND_NONBLOCK) == sizeof b);
	CHECK(memcmp(a, b, sizeof a) != 0);
	voted(a, sizeof a);
	voted(b, sizeof b);
	static const char *names[] = { "/dev/urandom", "/dev/random", "/proc/sys/kernel/random/uuid" };
	for (int i = 0; i < 3; i++) {
		int fd = open(names[i], O_RDONLY);
		CHECK(fd >= 0);
		read_all(fd, a, 32);
		voted(a, 32);
		close(fd);
	}
	uint32_t r = arc4random();
	voted(&r, sizeof r);
	char name[] = "name.XXXXXX";
	int fd = mkstemp(name);
	CHECK(fd >= 0);
	voted(name, sizeof name);
	CHECK(unlink(name) == 0);
	char *heap = malloc(100);
	voted(&heap, sizeof heap);
	say("ok random\n");
	return 0;
}
