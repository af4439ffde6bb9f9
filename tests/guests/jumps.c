/* setjmp and longjmp, also out of nested handlers, many times. */
#include "guest.h"
#include <setjmp.h>
static sigjmp_buf out;
static volatile int inner;
static void second(int signal)
{
	(void)signal;
	inner++;
	siglongjmp(out, inner);
}
static void first(int signal)
{
	(void)signal;
	raise(SIGUSR2);
	_exit(50);
}
int main(void)
{
	jmp_buf plain;
	volatile int count = 0;
	if (setjmp(plain) < 10) {
		count++;
		longjmp(plain, count);
	}
	CHECK(count == 10);
	signal(SIGUSR1, first);
	signal(SIGUSR2, second);
	volatile int rounds = 0;
	while (rounds < 100) {
		if (sigsetjmp(out, 1) == 0)
			raise(SIGUSR1);
		rounds++;
		CHECK(inner == rounds);
	}
	say("rounds %d\n", rounds);
	return 0;
}
