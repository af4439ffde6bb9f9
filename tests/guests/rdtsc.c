/* The time stamp counter only grows, and every copy reads the same values.
 * With the argument "raw" the values go to standard output. */
#include "guest.h"
#include <x86intrin.h>
int main(int argc, char **argv)
{
	unsigned long long last = 0;
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
