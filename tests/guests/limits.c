/* Niceness, limits, process name and other settings of the process. */
#include "guest.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
int main(void)
{
	struct rlimit limit;
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 50;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	int last = -1, fd;
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		last = fd;
	CHECK(errno == EMFILE && last == 49);
	for (fd = 10; fd < 50; fd++)
		close(fd);
	CHECK(prlimit(0, RLIMIT_CORE, NULL, &limit) == 0);
	limit.rlim_cur = 0;
	CHECK(prlimit(getpid(), RLIMIT_CORE, &limit, NULL) == 0);
	CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
	say("stack %ld\n", (long)limit.rlim_cur);
	limit = (struct rlimit){ 1000, 1000 };
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	fd = open("limited", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	static char data[2000];
	CHECK(write(fd, data, sizeof data) == 1000);
	FAILS(write(fd, data, 1), EFBIG);
	int base = getpriority(PRIO_PROCESS, 0);
	CHECK(nice(3) == base + 3 && getpriority(PRIO_PROCESS, 0) == base + 3);
	CHECK(setpriority(PRIO_PROCESS, 0, base + 5) == 0 && getpriority(PRIO_PROCESS, getpid()) == base + 5);
	char name[17] = "";
	CHECK(prctl(PR_SET_NAME, "renamed") == 0 && prctl(PR_GET_NAME, name) == 0);
	say("name %s\n", name);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && prctl(PR_GET_DUMPABLE) == 1);
	struct sched_param parameter;
	CHECK(sched_getscheduler(0) == SCHED_OTHER && sched_getparam(0, &parameter) == 0 && parameter.sched_priority == 0);
	FAILS(prctl(12345, 0, 0, 0, 0), EINVAL);
	FAILS(syscall(9999), ENOSYS);
	say("ok limits\n");
	return 0;
}
