/* What the kernel writes into a structure that begins with its own size comes
 * back whole: sched_getattr and statmount. Beyond that size nothing changes. */
#include "guest.h"
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
int main(void)
{
	unsigned char room[1024];
	uint32_t size, policy;
	memset(room, 0xa5, sizeof room);
	CHECK(syscall(SYS_sched_getattr, 0, room, 256, 0) == 0);
	memcpy(&size, room, sizeof size);
	memcpy(&policy, room + 4, sizeof policy);
	say("attributes: %u bytes, policy %u, behind them %#x %#x\n", size, policy,
	    room[size], room[255]);
	FAILS(syscall(SYS_sched_getattr, 0, room, 3, 0), EINVAL);
	/* struct mnt_id_req: its size, the mount, what is asked for. The root's
	 * mount is asked of statx (STATX_MNT_ID_UNIQUE). */
	struct statx root;
	uint64_t request[3] = { 24, 0, 1 | 2 };
	memset(room, 0xa5, sizeof room);
	CHECK(statx(AT_FDCWD, "/", 0, 0x4000, &root) == 0);
	memcpy(&request[1], (char *)&root + 0x90, sizeof request[1]);
	long got = syscall(SYS_statmount, request, room, sizeof room, 0);
	if (got < 0) {
		say("statmount: errno %d\n", errno);
		return 0;
	}
	memcpy(&size, room, sizeof size);
	CHECK(size >= 256 && size <= sizeof room);
	say("mount: %u bytes, sum %#lx, behind them %#x\n", size, (long)sum(0, room, size),
	    room[sizeof room - 1]);
	return 0;
}
