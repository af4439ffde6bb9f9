/* Faults handled by the program itself: SEGV on an alternate stack with a jump out, FPE, ILL, BUS, TRAP. */
#include "guest.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
static sigjmp_buf out;
static volatile int caught, code;
static void *volatile where;
static void on(int signal, siginfo_t *info, void *context)
{
	caught = signal;
	code = info->si_code;
	where = info->si_addr;
	(void)context;
	siglongjmp(out, 1);
}
static void skip(int signal, siginfo_t *info, void *context)
{
	/* ud2 is two bytes long; int3 is already behind. */
	if (signal == SIGILL)
		((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
	caught = signal;
	(void)info;
}
static int deep(int n)
{
	volatile char room[4096];
	room[0] = n;
	return n < 0 ? room[0] : deep(n + 1) + room[0];
}
int main(void)
{
	static char stack[1 << 16];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction jump = { .sa_sigaction = on, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction go_on = { .sa_sigaction = skip, .sa_flags = SA_SIGINFO };
	CHECK(sigaltstack(&alternate, NULL) == 0);
	CHECK(sigaction(SIGSEGV, &jump, NULL) == 0 && sigaction(SIGFPE, &jump, NULL) == 0);
	CHECK(sigaction(SIGBUS, &jump, NULL) == 0 && sigaction(SIGILL, &go_on, NULL) == 0);
	CHECK(sigaction(SIGTRAP, &go_on, NULL) == 0);
	for (int round = 0; round < 3; round++) {
		if (sigsetjmp(out, 1) == 0)
			*(volatile int *)0x1230 = 1;
		CHECK(caught == SIGSEGV && where == (void *)0x1230 && code == SEGV_MAPERR);
		caught = 0;
	}
	if (sigsetjmp(out, 1) == 0)
		*(volatile char *)"constant" = 1;
	CHECK(caught == SIGSEGV && code == SEGV_ACCERR);
	caught = 0;
	if (sigsetjmp(out, 1) == 0)
		deep(1);
	CHECK(caught == SIGSEGV);
	volatile int zero = 0;
	if (sigsetjmp(out, 1) == 0)
		zero = 100 / zero;
	CHECK(caught == SIGFPE && code == FPE_INTDIV);
	__asm__ volatile("ud2");
	CHECK(caught == SIGILL);
	__asm__ volatile("int3");
	CHECK(caught == SIGTRAP);
	int fd = open("short", O_CREAT | O_RDWR | O_TRUNC, 0644);
	char *map = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED);
	if (sigsetjmp(out, 1) == 0)
		caught = *(volatile char *)(map + 5000);
	CHECK(caught == SIGBUS && where == map + 5000);
	say("ok faults\n");
	return 0;
}
