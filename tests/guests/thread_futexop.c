/* FUTEX_WAKE_OP: every operation on the second word, and every comparison, which
 * decides whether the waiters there wake too. */
#include "futexes.h"
static word first, second, waiting;
static const int op = FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG;
static long wake_op(int how, int with, int compare, int to)
{
	return futex(&first, op, 1, (void *)1, &second, FUTEX_OP(how, with, compare, to));
}
static void *waits(void *unused)
{
	for (int i = 0; i < 6 * 3; i++)
		CHECK(futex(&waiting, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0);
	return unused;
}
static int holds(int compare, int old, int with)
{
	switch (compare) {
	case FUTEX_OP_CMP_EQ: return old == with;
	case FUTEX_OP_CMP_NE: return old != with;
	case FUTEX_OP_CMP_LT: return old < with;
	case FUTEX_OP_CMP_LE: return old <= with;
	case FUTEX_OP_CMP_GT: return old > with;
	default: return old >= with;
	}
}
int main(void)
{
	for (int how = FUTEX_OP_SET; how <= FUTEX_OP_XOR; how++) {
		second = 0x5a5;
		CHECK(wake_op(how, 0x0f0, FUTEX_OP_CMP_EQ, 0) == 0);
		say("op %d: %#x ", how, second);
		second = 0x5a5;
		CHECK(wake_op(how | FUTEX_OP_OPARG_SHIFT, 9, FUTEX_OP_CMP_EQ, 0) == 0);
		say("%#x ", second);
		second = 7;
		CHECK(wake_op(how, -3, FUTEX_OP_CMP_EQ, 0) == 0);
		say("%#x\n", second);
	}
	pthread_t thread = begin(waits, NULL);
	/* The waiter is at the second word; it wakes as the comparison holds, or at last. */
	for (int compare = FUTEX_OP_CMP_EQ; compare <= FUTEX_OP_CMP_GE; compare++) {
		for (int old = -3; old <= -1; old++) {
			move(&waiting, &second, 1, FUTEX_PRIVATE_FLAG);
			second = (unsigned)old;
			long woken = wake_op(FUTEX_OP_ADD, 1, compare, -2);
			CHECK(second == (unsigned)old + 1 && woken == holds(compare, old, -2));
			say("%ld", woken);
			if (!woken)
				CHECK(futex(&second, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
		}
		say(" comparison %d\n", compare);
	}
	ended(thread);
	FAILS(wake_op(5, 1, FUTEX_OP_CMP_EQ, 0), ENOSYS);
	FAILS(wake_op(FUTEX_OP_SET, 1, 6, 0), ENOSYS);
	FAILS(futex(&first, op, 1, (void *)1, (word *)8, 0), EFAULT);
	FAILS(futex(&first, op, 1, (void *)1, (word *)((char *)&second + 2), 0), EINVAL);
	/* The first word's waiter wakes whatever the comparison says. */
	thread = begin(waits, NULL);
	for (int i = 0; i < 6 * 3; i++) {
		move(&waiting, &first, 1, FUTEX_PRIVATE_FLAG);
		second = 1;
		CHECK(wake_op(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, i % 2) == 1);
	}
	ended(thread);
	say("ok thread_futexop\n");
	return 0;
}
