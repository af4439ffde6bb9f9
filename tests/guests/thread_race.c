/* Races that are meant, whose outcome does not depend on who wins: a flag that
 * publishes, awaited with sched_yield; slots that threads fight for; the same
 * value written by all without a lock. */
#include "threads.h"
enum { THREADS = 4, SLOTS = 500 };
static atomic_int published, turn;
static int message[100];
static atomic_int slots[SLOTS];
static volatile int careless[SLOTS];
static int lines, counts[THREADS];
static void *awaits(void *unused)
{
	long total = 0;
	while (!atomic_load_explicit(&published, memory_order_acquire))
		sched_yield();
	for (int i = 0; i < 100; i++)
		total += message[i];
	CHECK(total == 4950);
	return unused;
}
static void *fights(void *number)
{
	long me = (long)number;
	for (int i = 0; i < SLOTS; i++) {
		int nobody = 0;
		counts[me] += atomic_compare_exchange_strong(&slots[i], &nobody, (int)me + 1);
		careless[i] = i * 3;
		if (i % 50 == 0)
			sched_yield();
	}
	return number;
}
static void *alternates(void *number)
{
	for (int i = 0; i < 100; i++) {
		while (turn % 2 != (long)number)
			sched_yield();
		lines = lines * 31 % 1000003 + (int)(long)number + 1;
		turn++;
	}
	return number;
}
int main(void)
{
	int all_counts = 0, sums = 0;
	pthread_t thread = begin(awaits, NULL);
	for (int i = 0; i < 100; i++) {
		message[i] = i;
		if (i % 30 == 0)
			sched_yield();
	}
	atomic_store_explicit(&published, 1, memory_order_release);
	ended(thread);
	all(THREADS, fights);
	for (int i = 0; i < THREADS; i++)
		all_counts += counts[i];
	for (int i = 0; i < SLOTS; i++)
		sums += careless[i];
	say("slots %d, careless %d\n", all_counts, sums);
	all(2, alternates);
	say("alternated %d: %d\n", turn, lines);
	return 0;
}
