/* The futex calls as they are, for the guests that make them without a library.
 * Waiters are known to wait once a requeue has counted them. */
#ifndef FUTEXES_H
#define FUTEXES_H
#include "threads.h"
#include <limits.h>
#include <linux/futex.h>

typedef atomic_uint word;

static inline long futex(word *at, int op, long value, const void *time, word *other, long third)
{
	return syscall(SYS_futex, at, op, value, time, other, third);
}

/* Moves so many waiters from one word to another, as they come. It gives them a
 * moment first: Linux 6.18 was seen, once in some thousand runs, to lose a waiter
 * that was requeued just as it began to wait. */
static inline void move(word *from, word *to, int count, int private)
{
	usleep(1000);
	while (count > 0) {
		long moved = futex(from, FUTEX_REQUEUE | private, 0, (void *)(long)count, to, 0);
		CHECK(moved >= 0);
		count -= (int)moved;
		if (moved == 0)
			usleep(200);
	}
}
#endif
