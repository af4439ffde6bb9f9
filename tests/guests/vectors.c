/* readv, writev, preadv, pwritev and their second versions. */
#include "guest.h"
#include <limits.h>
#include <sys/uio.h>
int main(void)
{
	int fd = open("v", O_CREAT | O_RDWR | O_TRUNC, 0644);
	struct iovec out[4] = { { "alpha ", 6 }, { NULL, 0 }, { "beta ", 5 }, { "gamma", 5 } };
	CHECK(writev(fd, out, 4) == 16 && pwritev(fd, out, 1, 100) == 6);
	CHECK(lseek(fd, 0, SEEK_CUR) == 16 && lseek(fd, 0, SEEK_SET) == 0);
	char a[4] = "", b[200] = "";
	struct iovec in[2] = { { a, 3 }, { b, 199 } };
	CHECK(readv(fd, in, 2) == 106);
	say("%s|%s\n", a, b);
	memset(b, 0, sizeof b);
	CHECK(preadv(fd, in, 2, 4) == 102 && preadv2(fd, in, 2, 6, 0) == 100);
	say("%s|%s\n", a, b);
	CHECK(pwritev2(fd, out, 4, 50, RWF_APPEND) == 16 && lseek(fd, 0, SEEK_END) == 122);
	CHECK(pread(fd, b, 5, 106) == 5 && pwrite(fd, "P", 1, 0) == 1);
	say("%.5s\n", b);
	struct iovec many[IOV_MAX];
	for (int i = 0; i < IOV_MAX; i++)
		many[i] = (struct iovec){ "ab", i % 3 };
	CHECK(writev(fd, many, IOV_MAX) == 1023);
	FAILS(writev(fd, many, IOV_MAX + 1), EINVAL);
	FAILS(readv(fd, (struct iovec *)8, 2), EFAULT);
	return 0;
}
