/* draws COUNT: draws so many random numbers of the processor, and has what they are voted now and then. */
#include "guest.h"
#include <cpuid.h>
#include <immintrin.h>

__attribute__((target("rdrnd"))) int main(int argc, char **argv)
{
	unsigned a, b, c, d;
	CHECK(argc == 2 && __get_cpuid(1, &a, &b, &c, &d));
	long count = c & bit_RDRND ? atol(argv[1]) : 0;
	unsigned long long sum = 0, one;
	for (long i = 0; i < count; i++) {
		while (!_rdrand64_step(&one))
			;
		sum = sum * 31 + one;
		if (i % 1000 == 999)
			voted(&sum, sizeof sum);
	}
	say("ok draws\n");
	return 0;
}
