/* The time stamp counter only grows, and every copy reads the same values.
 * With the argument "raw" the values go to standard output; with "off" the
 * program forbids itself to read it, and does; with "many" it reads it often
 * enough to notice, at 10 us each, that a read is trapped. */
#include "guest.h"
#include <sys/prctl.h>
#include <x86intrin.h>
int main(int argc, char **argv)
{
	unsigned long long last = 0;
	int setting = 0;
	CHECK(prctl(PR_GET_TSC, &setting) == 0);
	say("reading it: %d\n", setting);
	if (argc > 1 && strcmp(argv[1], "many") == 0) {
		time_t start = time(NULL);
		for (int i = 0; i < 400000; i++)
			last ^= __rdtsc();
		say("soon: %d\n", time(NULL) - start < 4);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "off") == 0) {
		CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
		CHECK(prctl(PR_GET_TSC, &setting) == 0);
		say("reading it: %d\n", setting);
	}
	for (int round = 0; round < 100; round++) {
		unsigned cpu;
		unsigned long long now = __rdtsc(), then = __rdtscp(&cpu);
		CHECK(now > last && then > now);
		last = then;
		voted(&now, sizeof now);
		voted(&then, sizeof then);
		if (argc > 1)
			say("%llx\n", now);
	}
	say("ok rdtsc\n");
	return 0;
}
