/* No clock goes back, and every copy of the program sees the same values. */
#include "guest.h"
#include <sys/time.h>
static int before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec);
}
int main(void)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW,
		CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID };
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		struct timespec last = { 0, 0 }, now, resolution;
		CHECK(clock_getres(clocks[i], &resolution) == 0);
		for (int round = 0; round < 200; round++) {
			CHECK(clock_gettime(clocks[i], &now) == 0);
			CHECK(before(last, now));
			last = now;
		}
		voted(&last, sizeof last);
	}
	struct timeval tv;
	struct timespec real;
	time_t seconds = time(NULL);
	CHECK(gettimeofday(&tv, NULL) == 0);
	CHECK(clock_gettime(CLOCK_REALTIME, &real) == 0);
	CHECK(seconds > 1600000000 && tv.tv_sec >= seconds);
	voted(&seconds, sizeof seconds);
	voted(&tv, sizeof tv);
	voted(&real, sizeof real);
	clock_t used = clock();
	voted(&used, sizeof used);
	FAILS(clock_gettime(9999, &real), EINVAL);
	say("ok clock\n");
	return 0;
}
