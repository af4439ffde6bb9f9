/* A program looks at its capabilities and sets the same again, by its own
 * number and by 0, as libcap-ng and libcap do. */
#include "guest.h"
#include <linux/capability.h>
int main(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct before[2], after[2];
	CHECK(syscall(SYS_capget, &head, before) == 0);
	head.pid = getpid();
	CHECK(syscall(SYS_capset, &head, before) == 0);
	head.pid = 0;
	CHECK(syscall(SYS_capset, &head, before) == 0);
	head.pid = getpid();
	CHECK(syscall(SYS_capget, &head, after) == 0);
	say("the same: %d\n", memcmp(before, after, sizeof before) == 0);
	return 0;
}
