/* What exec does to the rights of a process: saved ids become the effective
 * ones, capabilities are what the bounding set and the user leave, none is kept
 * over a change of user, and the process is dumpable again. */
#include "guest.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
static void show(const char *when)
{
	uid_t user[3];
	gid_t group[3];
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	CHECK(getresuid(user, user + 1, user + 2) == 0);
	CHECK(getresgid(group, group + 1, group + 2) == 0);
	CHECK(syscall(SYS_capget, &head, data) == 0);
	say("%s: user %d %d %d group %d %d %d\n", when, user[0], user[1], user[2],
	    group[0], group[1], group[2]);
	for (int i = 0; i < 2; i++)
		say("capabilities %x %x %x\n", data[i].effective, data[i].permitted,
		    data[i].inheritable);
	say("keeps %d, dumpable %d\n", prctl(PR_GET_KEEPCAPS), prctl(PR_GET_DUMPABLE));
}
static void prepare(int how)
{
	switch (how) {
	case 1:
		CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
		break;
	case 2:
		CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
		break;
	case 3: /* gives up its rights for now, and takes them back unless it executes */
		CHECK(setresgid(65534, 65534, 0) == 0 && setresuid(65534, 65534, 0) == 0);
		break;
	case 4:
		CHECK(setresuid(1, 65534, 0) == 0);
		break;
	case 5: /* keeps its capabilities over a change of user */
		CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setresuid(65534, 65534, 65534) == 0);
		break;
	case 6:
		for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++)
			CHECK(prctl(PR_CAPBSET_DROP, i) == 0);
		break;
	case 7:
		CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT) == 0);
		break;
	}
}
int main(int argc, char **argv)
{
	if (argc == 2) {
		show("after");
		say("root again: %d\n", setuid(0));
		return 0;
	}
	int most = geteuid() == 0 ? 7 : 2;
	for (int how = 0; how <= most; how++) {
		pid_t child = fork();
		if (child == 0) {
			prepare(how);
			show("before");
			execl("/proc/self/exe", argv[0], "again", NULL);
			CHECK(0);
		}
		exited_with(child, 0);
	}
	return 0;
}
