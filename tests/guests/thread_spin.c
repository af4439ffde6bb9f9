/* Spin locks: they wait without a call. The sections are short. */
#include "threads.h"
static pthread_spinlock_t lock;
static long total, inside;
static void *adds(void *number)
{
	for (int i = 0; i < 5000; i++) {
		OK(pthread_spin_lock(&lock));
		CHECK(++inside == 1);
		total += (long)number + 1;
		CHECK(--inside == 0);
		OK(pthread_spin_unlock(&lock));
		if (i % 500 == 0)
			sched_yield();
	}
	return number;
}
static void *tries(void *unused)
{
	GIVES(pthread_spin_trylock(&lock), EBUSY);
	return unused;
}
int main(void)
{
	OK(pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE));
	all(4, adds);
	OK(pthread_spin_trylock(&lock));
	ended(begin(tries, NULL));
	OK(pthread_spin_unlock(&lock));
	say("total %ld\n", total);
	return 0;
}
