/* /proc/PID/status and stat show the program: its memory, its signals, its CPU
 * time, its descriptor table, however they are read and whoever reads: a part of that each, by
 * its name. */
#include "guest.h"
#include <sys/uio.h>
static char text[1 << 16];
static void slurp(const char *path, size_t piece)
{
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	size_t n = 0;
	ssize_t got;
	while ((got = read(fd, text + n, piece)) > 0)
		n += got;
	CHECK(got == 0 && read(fd, text + n, piece) == 0);
	text[n] = 0;
	close(fd);
}
static char *line(const char *name)
{
	char wanted[64];
	snprintf(wanted, sizeof wanted, "\n%s:", name);
	char *at = strstr(text, wanted);
	CHECK(at != NULL);
	return at + strlen(wanted);
}
static unsigned long long field(int number)
{
	char *at = strrchr(text, ')') + 2;
	for (int i = 3; i < number; i++)
		at = strchr(at, ' ') + 1;
	return strtoull(at, NULL, 10);
}
static void signals(const char *who)
{
	static const char *const names[] = { "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt" };
	say("%s:", who);
	/* Without 32 and 33: whoever starts a program may leave them ignored (nptl(7)). */
	for (int i = 0; i < 5; i++)
		say(" %s %llx", names[i], strtoull(line(names[i]), NULL, 16) & ~(3ull << 31));
	say(" threads %d\n", atoi(line("Threads")));
}
static void nothing(int signal)
{
}
static void set_up_signals(void)
{
	sigset_t set;
	signal(SIGUSR1, nothing);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR2);
	kill(getpid(), SIGRTMIN);
}
static void part_signals(void)
{
	set_up_signals();
	slurp("/proc/self/status", sizeof text / 2);
	signals("self");
	slurp("/proc/thread-self/status", sizeof text / 2);
	signals("thread-self");
	slurp("/proc/self/stat", 1);
	CHECK(atoi(text) == getpid());
	say("state %c, signals %llx %llx %llx %llx\n", strrchr(text, ')')[2], field(31), field(32),
	    field(33), field(34));
}
static void part_state(void)
{
	slurp("/proc/self/status", sizeof text / 2);
	CHECK(strstr(text, "State:\tR (running)"));
	say("seccomp %d\n", atoi(line("Seccomp")));
	slurp("/proc/self/stat", sizeof text / 2);
	say("flags %llx\n", field(9) & 0x40);
	slurp("/proc/self/wchan", sizeof text / 2);
	say("waits at %s\n", text);
}
static void part_memory(void)
{
	int here;
	slurp("/proc/self/status", sizeof text / 2);
	long before = atol(line("VmRSS"));
	memset(malloc(20 << 20), 1, 20 << 20);
	slurp("/proc/self/status", 7);
	long after = atol(line("VmRSS")), highest = atol(line("VmHWM")), size = atol(line("VmSize"));
	slurp("/proc/self/stat", 1);
	CHECK(after - before >= 19000 && after - before < 25000);
	CHECK(highest >= after && size < 60000);
	CHECK(field(24) * 4 >= (unsigned long long)after - 4000);
	CHECK(field(26) <= (uintptr_t)part_memory && (uintptr_t)part_memory < field(27));
	CHECK(field(28) > (uintptr_t)&here);
}
static void part_times(void)
{
	slurp("/proc/self/stat", sizeof text / 2);
	unsigned long long ticks = field(14) + field(15);
	do {
		for (volatile int i = 0; i < 10000000; i++)
			;
		slurp("/proc/self/stat", sizeof text / 2);
	} while (field(14) + field(15) < ticks + 5);
}
static void part_descriptors(void)
{
	slurp("/proc/self/status", sizeof text / 2);
	say("places %d\n", atoi(line("FDSize")));
	CHECK(dup2(0, 100) == 100);
	close(100);
	slurp("/proc/self/status", sizeof text / 2);
	say("places %d\n", atoi(line("FDSize")));
}
/* One open file: a position that is shared, sought and read beside. */
static void part_reading(void)
{
	set_up_signals();
	int fd = open("/proc/self/status", O_RDONLY), twin = dup(fd);
	char ten[11] = "", more[11] = "";
	read_all(fd, ten, 10);
	read_all(twin, more, 10);
	CHECK(lseek(fd, 0, SEEK_CUR) == 20);
	say("%s%s\n", ten, more);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && pread(twin, more, 10, 0) == 10);
	read_all(fd, ten, 10);
	CHECK(memcmp(ten, more, 10) == 0 && pread(fd, more, 10, 100000) == 0);
	FAILS(lseek(fd, 0, SEEK_END), EINVAL);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	struct iovec two[2] = { { ten, 6 }, { text, sizeof text - 1 } };
	ssize_t length = readv(fd, two, 2);
	CHECK(length > 600 && lseek(fd, 0, SEEK_CUR) == length);
	text[length - 6] = 0;
	say("%.6s %.10s\n", ten, text);
	signals("by a vector");
	CHECK(readv(fd, two, 2) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	FAILS(read(fd, NULL, 5), EFAULT);
	FAILS(read(fd, (void *)0x7000000000, 5), EFAULT);
	FAILS(readv(fd, two, -1), EINVAL);
	CHECK(read(fd, text, 0) == 0);
}
/* The parent's, by its child; and the child's. */
static void part_family(void)
{
	char path[64];
	set_up_signals();
	memset(malloc(20 << 20), 1, 20 << 20);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGUSR1, SIG_DFL);
		snprintf(path, sizeof path, "/proc/%d/status", getppid());
		slurp(path, sizeof text / 2);
		signals("parent");
		CHECK(strtol(line("VmRSS"), NULL, 10) >= 19000);
		snprintf(path, sizeof path, "/proc/self/task/%d/status", getpid());
		slurp(path, sizeof text / 2);
		signals("child");
		CHECK(atoi(line("Pid")) == getpid());
		slurp("/proc/self/stat", sizeof text / 2);
		say("flags %llx\n", field(9) & 0x40);
		_exit(3);
	}
	exited_with(child, 3);
}
static void part_maps(void)
{
	char path[64];
	pid_t child = fork();
	if (child == 0) {
		snprintf(path, sizeof path, "/proc/%d/task/%d/maps", getpid(), getpid());
		slurp(path, sizeof text / 2);
		CHECK(strstr(text, "procstatus") && strstr(text, "[stack]"));
		snprintf(path, sizeof path, "/proc/%d/maps", getppid());
		slurp(path, sizeof text / 2);
		CHECK(strstr(text, "procstatus") && strstr(text, "[stack]"));
		_exit(3);
	}
	exited_with(child, 3);
}
int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*check)(void);
	} parts[] = {
		{ "signals", part_signals }, { "state", part_state },
		{ "memory", part_memory },   { "times", part_times },
		{ "places", part_descriptors }, { "reading", part_reading },
		{ "family", part_family },   { "maps", part_maps },
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (argc == 2 && strcmp(argv[1], parts[i].name) == 0) {
			parts[i].check();
			return 0;
		}
	return 2;
}
