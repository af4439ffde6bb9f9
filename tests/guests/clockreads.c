/* Many readings of every clock, by a process, its children and its threads: each later than the one
 * before, between two that a bare call gives, and the same for all who are compared. */
#include "threads.h"
#include <setjmp.h>
#include <sys/syscall.h>
#include <sys/time.h>

static uint64_t ns(struct timespec t)
{
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t bare(clockid_t clock)
{
	struct timespec t;
	CHECK(syscall(SYS_clock_gettime, clock, &t) == 0);
	return ns(t);
}

static uint64_t inside(clockid_t clock)
{
	struct timespec t;
	CHECK(clock_gettime(clock, &t) == 0 && t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
	return ns(t);
}

static uint64_t reads(int times)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
					    CLOCK_MONOTONIC_COARSE };
	uint64_t last[4] = { 0 }, all = 0;
	for (int i = 0; i < times; i++) {
		int which = i * 7 % 4;
		uint64_t now = inside(clocks[which]);
		CHECK(now >= last[which]);
		last[which] = now;
		all = all * 31 + now;
		if (i % 50 == 0) {
			uint64_t before = bare(CLOCK_MONOTONIC), at = inside(CLOCK_MONOTONIC);
			CHECK(before <= at && at <= bare(CLOCK_MONOTONIC));
			all = all * 31 + before + at;
		}
	}
	/* Those that may be set: near one another. */
	struct timeval day;
	uint64_t real = inside(CLOCK_REALTIME), coarse = inside(CLOCK_REALTIME_COARSE);
	CHECK(gettimeofday(&day, NULL) == 0 && day.tv_usec >= 0 && day.tv_usec < 1000000);
	time_t seconds = time(NULL);
	CHECK(real / 1000000000 - seconds + 5 < 10 && day.tv_sec - seconds + 5 < 10);
	CHECK(coarse / 1000000000 - seconds + 5 < 10);
	CHECK(inside(CLOCK_TAI) / 1000000000 - seconds + 100 < 200);
	return all * 31 + real + coarse * 3 + day.tv_usec * 7 + seconds;
}

static void *thread(void *times)
{
	return (void *)reads((long)times);
}

static int child(int times)
{
	uint64_t got = reads(times);
	voted(&got, sizeof got);
	return 0;
}

/* A reader that spins until another thread lets it go: replicas meet there only if all that a reading
 * leaves behind is the same in each. */
static volatile int let_go;
static void *spins(void *unused)
{
	uint64_t got = reads(100);
	while (!let_go)
		;
	return (void *)got;
}
static void *lets_go(void *unused)
{
	sched_yield();
	let_go = 1;
	return NULL;
}

/* What the replicas read together is in memory that a wild store may hit: then the time comes from
 * elsewhere, and is right. Natively nothing is there. */
static sigjmp_buf nothing_there;
static void on_fault(int signal)
{
	siglongjmp(nothing_there, 1);
}
static void after_a_wild_store(void)
{
	volatile char *log = (char *)0x555400200000;
	signal(SIGSEGV, on_fault);
	if (sigsetjmp(nothing_there, 1) == 0)
		for (int i = 0; i < 1 << 20; i++)
			log[i] = 0xff;
	signal(SIGSEGV, SIG_DFL);
	uint64_t got = reads(200);
	voted(&got, sizeof got);
}

int main(int argc, char **argv)
{
	uint64_t before = inside(CLOCK_MONOTONIC), got = reads(argc > 1 ? 500 : 3000);
	voted(&got, sizeof got);
	if (argc > 1)
		return 0;
	/* Errors are those of the call. */
	struct timespec t;
	FAILS(clock_gettime(99, &t), EINVAL);
	CHECK(clock_getres(CLOCK_MONOTONIC, &t) == 0 && t.tv_sec == 0);
	pid_t pids[3];
	for (int i = 0; i < 3; i++)
		if ((pids[i] = fork()) == 0)
			_exit(child(700 + i * 100));
	got = reads(1000);
	voted(&got, sizeof got);
	for (int i = 0; i < 3; i++)
		exited_with(pids[i], 0);
	/* One whose parent waits, and which becomes another program. */
	static uint64_t seen;
	pid_t pid = vfork();
	if (pid == 0) {
		seen = inside(CLOCK_MONOTONIC);
		execl("/proc/self/exe", argv[0], "again", NULL);
		_exit(9);
	}
	CHECK(before <= seen && seen <= inside(CLOCK_MONOTONIC));
	exited_with(pid, 0);
	pthread_t threads[3];
	for (long i = 0; i < 3; i++)
		threads[i] = begin(thread, (void *)(300 + 200 * i));
	got = reads(400);
	for (int i = 0; i < 3; i++)
		got = got * 31 + (uint64_t)ended(threads[i]);
	voted(&got, sizeof got);
	pthread_t spinning = begin(spins, NULL), other = begin(lets_go, NULL);
	got = (uint64_t)ended(spinning);
	ended(other);
	voted(&got, sizeof got);
	after_a_wild_store();
	CHECK(before <= inside(CLOCK_MONOTONIC));
	say("ok clockreads\n");
	return 0;
}
