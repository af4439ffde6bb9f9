/* A thread spins without any call on what another sets after it has computed:
 * whoever runs only one thread at a time has to interrupt the one that spins.
 * There and back, then a chain of threads, then one that spins on a call's end. */
#include "threads.h"
enum { CHAIN = 4 };
static atomic_int flag, back, links[CHAIN + 1];
static uint64_t result, values[CHAIN + 1];
static uint64_t compute(uint64_t is, int times)
{
	while (times-- > 0)
		is = is * 6364136223846793005u + 1442695040888963407u;
	return is;
}
static void *computes(void *unused)
{
	for (int i = 1; i <= 5; i++) {
		result = compute(result, 500000);
		flag = i;
		while (back != i)
			;
	}
	return unused;
}
static void *links_on(void *number)
{
	long me = (long)number;
	while (!links[me])
		;
	values[me + 1] = compute(values[me] + (uint64_t)me, 100000);
	links[me + 1] = 1;
	return number;
}
static void *calls(void *unused)
{
	struct timespec brief = { 0, 2000000 };
	CHECK(nanosleep(&brief, NULL) == 0);
	flag = 1;
	return unused;
}
int main(void)
{
	pthread_t threads[CHAIN], thread = begin(computes, NULL);
	for (int i = 1; i <= 5; i++) {
		while (flag != i)
			;
		result ^= (uint64_t)i;
		back = i;
	}
	ended(thread);
	say("there and back %016lx\n", result);
	for (long i = CHAIN - 1; i >= 0; i--)
		threads[i] = begin(links_on, (void *)i);
	links[0] = 1;
	while (!links[CHAIN])
		;
	for (int i = 0; i < CHAIN; i++)
		ended(threads[i]);
	say("chain %016lx\n", values[CHAIN]);
	flag = 0;
	thread = begin(calls, NULL);
	while (!flag)
		;
	ended(thread);
	say("called\n");
	return 0;
}
