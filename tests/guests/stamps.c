/* The time stamp counter read often, at places of many shapes, by a process, its children and another
 * program: it only grows, keeps its pace, leaves everything else as it was, and is the same for all
 * who are compared. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/prctl.h>
#include <x86intrin.h>

static uint64_t last, all;

static void grows(uint64_t now)
{
	CHECK(now > last);
	last = now;
	all = all * 31 + now;
}

#define PLACE(name, code, ...)                                                                     \
	__attribute__((noinline)) static uint64_t name(void)                                       \
	{                                                                                          \
		uint32_t low, high;                                                                \
		asm volatile(code : "=a"(low), "=d"(high) : : "cc", "memory", ##__VA_ARGS__);      \
		return (uint64_t)high << 32 | low;                                                 \
	}

__attribute__((noinline)) static uint64_t plain(void)
{
	return __rdtsc();
}
__attribute__((noinline)) static uint64_t with_a_number(void)
{
	unsigned number;
	uint64_t now = __rdtscp(&number);
	CHECK(number < 65536);
	return now;
}
PLACE(with_fences, "lfence\n rdtsc\n lfence\n mov %%eax,%%eax", "rcx")
PLACE(into_memory, "lea -256(%%rsp),%%rsp\n rdtsc\n mov %%eax,-8(%%rsp)\n mov %%edx,-4(%%rsp)\n"
		   "mov -8(%%rsp),%%eax\n mov -4(%%rsp),%%edx\n lea 256(%%rsp),%%rsp")
PLACE(jumped_over, "test %%rsp,%%rsp\n jz 1f\n jmp 2f\n 2: rdtsc\n 1: mov %%eax,%%eax\n mov %%edx,%%edx\n"
		   "mov %%eax,%%eax")
PLACE(before_a_jump, "rdtsc\n jmp 1f\n nop\n nop\n nop\n 1:")
PLACE(before_a_call, "lea -128(%%rsp),%%rsp\n rdtsc\n call 1f\n jmp 2f\n 1: ret\n 2: lea 128(%%rsp),%%rsp")

/* What is read, of registers, flags and the 128 bytes below the stack, is what was there. */
__attribute__((noinline)) static uint64_t keeps_the_rest(void)
{
	uint64_t before[24], after[24], now;
	for (int i = 0; i < 24; i++)
		before[i] = 0x0101010101010101ull * (i + 1);
	asm volatile("push %%rbx\n push %%rbp\n"
		     "mov %[before],%%rbx\n mov %[after],%%rbp\n"
		     "lea -512(%%rsp),%%rsp\n"
		     "mov 0(%%rbx),%%rcx\n mov 8(%%rbx),%%rsi\n mov 16(%%rbx),%%rdi\n"
		     "mov 24(%%rbx),%%r8\n mov 32(%%rbx),%%r9\n mov 40(%%rbx),%%r10\n"
		     "mov 48(%%rbx),%%r11\n mov 56(%%rbx),%%r12\n mov 64(%%rbx),%%r13\n"
		     "mov 72(%%rbx),%%r14\n mov 80(%%rbx),%%r15\n"
		     "mov 88(%%rbx),%%rax\n mov %%rax,-8(%%rsp)\n"
		     "mov 96(%%rbx),%%rax\n mov %%rax,-64(%%rsp)\n"
		     "mov 104(%%rbx),%%rax\n mov %%rax,-128(%%rsp)\n"
		     "movq %%rax,%%xmm7\n"
		     "std\n stc\n"
		     "rdtsc\n shl $32,%%rdx\n lea (%%rax,%%rdx),%%rax\n"
		     "cld\n"
		     "mov %%rcx,0(%%rbp)\n mov %%rsi,8(%%rbp)\n mov %%rdi,16(%%rbp)\n"
		     "mov %%r8,24(%%rbp)\n mov %%r9,32(%%rbp)\n mov %%r10,40(%%rbp)\n"
		     "mov %%r11,48(%%rbp)\n mov %%r12,56(%%rbp)\n mov %%r13,64(%%rbp)\n"
		     "mov %%r14,72(%%rbp)\n mov %%r15,80(%%rbp)\n"
		     "mov -8(%%rsp),%%rdx\n mov %%rdx,88(%%rbp)\n"
		     "mov -64(%%rsp),%%rdx\n mov %%rdx,96(%%rbp)\n"
		     "mov -128(%%rsp),%%rdx\n mov %%rdx,104(%%rbp)\n"
		     "movq %%xmm7,%%rdx\n mov %%rdx,112(%%rbp)\n"
		     "lea 512(%%rsp),%%rsp\n"
		     "pop %%rbp\n pop %%rbx\n"
		     : "=&a"(now)
		     : [before] "r"(before), [after] "r"(after)
		     : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		       "xmm7", "cc", "memory");
	CHECK(memcmp(before, after, 14 * 8) == 0 && after[14] == before[13]);
	return now;
}

/* The flags as they are right behind a reading. */
__attribute__((noinline)) static uint64_t keeps_flags(void)
{
	uint64_t now, one = 0, other = 0;
	asm volatile("lea -128(%%rsp),%%rsp\n"
		     "cmp %%rcx,%%rsi\n stc\n"
		     "rdtsc\n mov %%eax,%%eax\n mov %%edx,%%edx\n mov %%rax,%%rcx\n"
		     "pushfq\n pop %%rsi\n"
		     "shl $32,%%rdx\n or %%rdx,%%rcx\n"
		     "xor %%edx,%%edx\n cmp $-1,%%edx\n stc\n"
		     "rdtsc\n mov %%eax,%%eax\n mov %%edx,%%edx\n mov %%rax,%%rdi\n"
		     "pushfq\n pop %%rdi\n"
		     "lea 128(%%rsp),%%rsp\n"
		     : "=c"(now), "=S"(one), "=D"(other)
		     : "c"(5ul), "S"(5ul)
		     : "rax", "rdx", "cc", "memory");
	CHECK((one & 0x8d5) == 0x45 && (other & 1) == 1 && (other & 0x40) == 0);
	return now;
}

static uint64_t (*const places[])(void) = {
	plain,		with_a_number, with_fences,    into_memory, jumped_over,
	before_a_jump,	before_a_call, keeps_the_rest, keeps_flags,
};

static uint64_t reads(int rounds)
{
	for (int i = 0; i < rounds; i++)
		for (size_t p = 0; p < sizeof places / sizeof *places; p++)
			grows(places[p]());
	for (int i = 0; i < rounds * 20; i++)
		grows(plain());
	return all;
}

/* The counter, and the clock just before and behind it, near one another. */
static uint64_t at(uint64_t *ticks)
{
	uint64_t best = 0, took = UINT64_MAX;
	for (int i = 0; i < 100; i++) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		uint64_t now = plain();
		clock_gettime(CLOCK_MONOTONIC, &b);
		uint64_t from = a.tv_sec * 1000000000ull + a.tv_nsec;
		uint64_t to = b.tv_sec * 1000000000ull + b.tv_nsec;
		if (to - from < took) {
			took = to - from;
			best = from + took / 2;
			*ticks = now;
		}
	}
	return best;
}

/* Linux counts its bogomips by the counter where it can: two a million ticks. */
static double megahertz(void)
{
	char line[256];
	double bogomips = 0;
	FILE *f = fopen("/proc/cpuinfo", "r");
	while (f && bogomips == 0 && fgets(line, sizeof line, f))
		sscanf(line, "bogomips : %lf", &bogomips);
	if (f)
		fclose(f);
	return bogomips / 2;
}

static void keeps_its_pace(void)
{
	double wanted = megahertz();
	uint64_t from_ticks, to_ticks, from = at(&from_ticks);
	for (int i = 0; i < 4; i++) {
		usleep(20000);
		uint64_t to = at(&to_ticks);
		double is = (to_ticks - from_ticks) * 1e3 / (to - from);
		CHECK(to > from && to_ticks > from_ticks);
		if (wanted > 0)
			CHECK(is > wanted * 0.95 && is < wanted * 1.05);
		wanted = is;
	}
}

/* A reading is no fault of the program's: what it has said of faults stays. */
static void is_no_fault(void)
{
	sigset_t faults, now;
	sigemptyset(&faults);
	sigaddset(&faults, SIGSEGV);
	CHECK(sigprocmask(SIG_BLOCK, &faults, NULL) == 0);
	grows(plain());
	CHECK(sigprocmask(SIG_UNBLOCK, &faults, &now) == 0);
	CHECK(sigismember(&now, SIGSEGV) == 1);
}

/* A handler that reads where the program does. */
static volatile sig_atomic_t handled;
static void on_alarm(int signal)
{
	for (int i = 0; i < 30; i++)
		plain();
	handled++;
}

static int child(int rounds)
{
	uint64_t got = reads(rounds);
	voted(&got, sizeof got);
	is_no_fault();
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t got;
	if (argc > 1)
		return child(30);
	/* A child that has read nothing, one that has read at each place, and one that has often. */
	for (int rounds = 0; rounds < 20; rounds += rounds ? 17 : 1) {
		got = reads(rounds);
		voted(&got, sizeof got);
		pid_t pid = fork();
		if (pid == 0)
			_exit(child(40));
		got = reads(2);
		voted(&got, sizeof got);
		exited_with(pid, 0);
	}
	is_no_fault();
	keeps_its_pace();
	pid_t pid = vfork();
	if (pid == 0) {
		grows(plain());
		execl("/proc/self/exe", argv[0], "again", NULL);
		_exit(9);
	}
	grows(plain());
	exited_with(pid, 0);
	signal(SIGALRM, on_alarm);
	for (int i = 0; i < 3; i++) {
		raise(SIGALRM);
		grows(plain());
	}
	CHECK(handled == 3);
	/* A place whose code another takes. */
	unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(code != MAP_FAILED);
	static const unsigned char read_it[] = { 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20,
						 0x48, 0x09, 0xd0, 0xc3 };
	for (int i = 0; i < 40; i++) {
		memcpy(code + i, read_it, sizeof read_it);
		grows(((uint64_t(*)(void))(code + i))());
		grows(((uint64_t(*)(void))(code + i))());
	}
	got = reads(300);
	voted(&got, sizeof got);
	say("ok stamps\n");
	return 0;
}
