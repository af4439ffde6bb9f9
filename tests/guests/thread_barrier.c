/* A barrier: nobody passes before all have come, and one of each round is the
 * serial thread. */
#include "threads.h"
enum { THREADS = 6, ROUNDS = 100 };
static pthread_barrier_t barrier;
static long cells[THREADS];
static atomic_long serial, wrong;
static void *rounds(void *number)
{
	long me = (long)number;
	for (int round = 0; round < ROUNDS; round++) {
		cells[me] = cells[me] * 31 + me + round;
		int code = pthread_barrier_wait(&barrier);
		CHECK(code == 0 || code == PTHREAD_BARRIER_SERIAL_THREAD);
		serial += code == PTHREAD_BARRIER_SERIAL_THREAD;
		long next = cells[(me + 1) % THREADS];
		code = pthread_barrier_wait(&barrier);
		serial += code == PTHREAD_BARRIER_SERIAL_THREAD;
		cells[me] += next % 1000;
	}
	return number;
}
static void *alone(void *number)
{
	pthread_barrier_t one;
	OK(pthread_barrier_init(&one, NULL, 1));
	for (int round = 0; round < 10; round++)
		wrong += pthread_barrier_wait(&one) != PTHREAD_BARRIER_SERIAL_THREAD;
	OK(pthread_barrier_destroy(&one));
	return number;
}
int main(void)
{
	GIVES(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
	OK(pthread_barrier_init(&barrier, NULL, THREADS));
	all(THREADS, rounds);
	OK(pthread_barrier_destroy(&barrier));
	all(2, alone);
	say("serial %ld, sum %016lx, wrong %ld\n", serial, sum(0, cells, sizeof cells), wrong);
	return 0;
}
