/* Extended attributes, where the file system has them. */
#include "guest.h"
#include <sys/xattr.h>
int main(void)
{
	char value[64] = "";
	int fd = open("f", O_CREAT | O_RDWR, 0644);
	CHECK(fd >= 0);
	if (setxattr("f", "user.colour", "green", 5, 0) == 0) {
		CHECK(getxattr("f", "user.colour", value, sizeof value) == 5 && strcmp(value, "green") == 0);
		CHECK(getxattr("f", "user.colour", NULL, 0) == 5);
		FAILS(getxattr("f", "user.colour", value, 2), ERANGE);
		FAILS(setxattr("f", "user.colour", "x", 1, XATTR_CREATE), EEXIST);
		CHECK(fsetxattr(fd, "user.shade", "dark", 4, XATTR_CREATE) == 0);
		char list[256];
		ssize_t n = listxattr("f", list, sizeof list);
		CHECK(n > 0 && flistxattr(fd, NULL, 0) == n);
		voted(list, n);
		CHECK(fremovexattr(fd, "user.shade") == 0 && removexattr("f", "user.colour") == 0);
	} else {
		CHECK(errno == EOPNOTSUPP || errno == ENOTSUP);
	}
	FAILS(getxattr("missing", "user.a", value, sizeof value), ENOENT);
	CHECK(lgetxattr("f", "user.none", value, sizeof value) == -1);
	say("ok xattrs\n");
	return 0;
}
