/* What the kernel says of machine, load and use is asked once for all copies. */
#include "guest.h"
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>
int main(void)
{
	struct utsname names;
	CHECK(uname(&names) == 0);
	say("%s %s %s %s\n", names.sysname, names.nodename, names.release, names.machine);
	struct sysinfo info;
	CHECK(sysinfo(&info) == 0 && info.totalram > 0);
	voted(&info, sizeof info);
	struct rusage use;
	CHECK(getrusage(RUSAGE_SELF, &use) == 0);
	voted(&use, sizeof use);
	CHECK(getrusage(RUSAGE_CHILDREN, &use) == 0);
	voted(&use, sizeof use);
	struct tms ticks;
	clock_t now = times(&ticks);
	voted(&now, sizeof now);
	voted(&ticks, sizeof ticks);
	double load[3];
	CHECK(getloadavg(load, 3) == 3);
	voted(load, sizeof load);
	char host[256];
	CHECK(gethostname(host, sizeof host) == 0 && strcmp(host, names.nodename) == 0);
	say("processors %ld of %ld\n", sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_CONF));
	say("uid %d gid %d euid %d egid %d\n", getuid(), getgid(), geteuid(), getegid());
	gid_t groups[64];
	int n = getgroups(64, groups);
	CHECK(n >= 0);
	say("groups %d\n", n);
	return 0;
}
