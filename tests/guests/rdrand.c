/* Random numbers that the processor draws: of every width, into every register that can be, with
 * the carry flag and without a look at it. Every copy of the program gets the same ones, and they
 * differ from one draw to the next. */
#include "guest.h"
#include <cpuid.h>
#include <immintrin.h>
#define FLAGS 0x8d5 /* OF SF ZF AF PF CF */

/* One draw into a register that was all ones: its value, and the flags. Up to 1000 tries. */
#define DRAW(what, wide, part)                                                 \
	do {                                                                   \
		static uint64_t value_, flags_; /* not on the stack */        \
		int tries_ = 0;                                                \
		do {                                                           \
			static unsigned char there_;                           \
			__asm__ volatile("lea -128(%%rsp), %%rsp\n"            \
					 "mov $-1, %%" wide "\n"               \
					 "cmp %%rax, %%rax\n"                  \
					 what " %%" part "\n"                  \
					 "setc %2\n"                           \
					 "pushfq\n"                            \
					 "pop %1\n"                            \
					 "mov %%" wide ", %0\n"                \
					 "lea 128(%%rsp), %%rsp\n"             \
					 : "=m"(value_), "=m"(flags_),         \
					   "=m"(there_)                        \
					 :                                     \
					 : wide, "cc", "memory");              \
			CHECK((there_ == 1) == (flags_ & 1));                  \
			CHECK((flags_ & FLAGS & ~1) == 0);                     \
		} while (!(flags_ & 1) && ++tries_ < 1000);                    \
		CHECK(flags_ & 1);                                             \
		take(value_, part);                                            \
	} while (0)
#define WIDTHS(what, r64, r32, r16)                                            \
	do {                                                                   \
		DRAW(what, r64, r64);                                          \
		DRAW(what, r64, r32);                                          \
		DRAW(what, r64, r16);                                          \
	} while (0)
#define REGISTERS(what)                                                        \
	do {                                                                   \
		WIDTHS(what, "rax", "eax", "ax");                              \
		WIDTHS(what, "rbx", "ebx", "bx");                              \
		WIDTHS(what, "rcx", "ecx", "cx");                              \
		WIDTHS(what, "rdx", "edx", "dx");                              \
		WIDTHS(what, "rsi", "esi", "si");                              \
		WIDTHS(what, "rdi", "edi", "di");                              \
		WIDTHS(what, "r8", "r8d", "r8w");                              \
		WIDTHS(what, "r9", "r9d", "r9w");                              \
		WIDTHS(what, "r10", "r10d", "r10w");                           \
		WIDTHS(what, "r11", "r11d", "r11w");                           \
		WIDTHS(what, "r12", "r12d", "r12w");                           \
		WIDTHS(what, "r13", "r13d", "r13w");                           \
		WIDTHS(what, "r14", "r14d", "r14w");                           \
		WIDTHS(what, "r15", "r15d", "r15w");                           \
	} while (0)

static uint64_t drawn[512];
static unsigned count;

static void take(uint64_t value, const char *part)
{
	size_t length = strlen(part);
	if (part[0] == 'e' || part[length - 1] == 'd') { /* 32 bits: the upper half is 0 */
		CHECK(value >> 32 == 0);
	} else if (part[0] != 'r' || part[length - 1] == 'w') { /* 16 bits: the rest stays */
		CHECK(value >> 16 == 0xffffffffffff);
	} else {
		CHECK(count < 512);
		for (unsigned i = 0; i < count; i++)
			CHECK(drawn[i] != value);
		drawn[count++] = value;
	}
	voted(&value, sizeof value);
}

__attribute__((target("rdrnd,rdseed"))) static void draw(int seeds)
{
	unsigned short s;
	unsigned i;
	unsigned long long l, unlooked[8];
	REGISTERS("rdrand");
	if (seeds)
		REGISTERS("rdseed");
	while (!_rdrand16_step(&s) || !_rdrand32_step(&i) || !_rdrand64_step(&l))
		;
	voted(&s, sizeof s);
	voted(&i, sizeof i);
	voted(&l, sizeof l);
	for (int k = 0; k < 8; k++)
		_rdrand64_step(&unlooked[k]);
	voted(unlooked, sizeof unlooked);
}

int main(int argc, char **argv)
{
	unsigned a, b, c, d;
	CHECK(__get_cpuid(1, &a, &b, &c, &d));
	if (!(c & bit_RDRND)) {
		say("ok rdrand\n"); /* nothing to draw from */
		return 0;
	}
	int seeds = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_RDSEED;
	if (argc > 2) { /* what the parent drew: a new program draws others */
		draw(seeds);
		uint64_t first = strtoull(argv[2], NULL, 16);
		for (unsigned i = 0; i < count; i++)
			CHECK(drawn[i] != first);
		return 7;
	}
	draw(seeds);
	unsigned before = count;
	pid_t child = fork();
	CHECK(child >= 0);
	count = before; /* drawn by both so far */
	draw(seeds);
	if (child == 0) {
		char first[32];
		snprintf(first, sizeof first, "%llx", (unsigned long long)drawn[before]);
		execl(argv[0], argv[0], "again", first, NULL);
		_exit(99);
	}
	exited_with(child, 7);
	say("ok rdrand\n");
	return 0;
}
