/* threads N: N threads share a fixed amount of arithmetic, meet at a barrier after each part of it, and
 * add up under a mutex. Prints the sum, which is the same for every N up to 4. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTS = 50, SHARES = 4, STEPS = 1500000 };

static pthread_barrier_t barrier;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t sum;
static int threads;

static void *work(void *arg) {
	int self = (int)(intptr_t)arg;
	for (int part = 0; part < PARTS; part++) {
		for (int share = self; share < SHARES; share += threads) {
			uint64_t x = (uint64_t)(part * SHARES + share + 1);
			for (int i = 0; i < STEPS; i++)
				x = x * 6364136223846793005u + 1442695040888963407u;
			pthread_mutex_lock(&mutex);
			sum += x;
			pthread_mutex_unlock(&mutex);
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

int main(int argc, char **argv) {
	pthread_t ids[SHARES];
	threads = argc > 1 ? atoi(argv[1]) : 1;
	if (threads < 1 || threads > SHARES)
		return 2;
	pthread_barrier_init(&barrier, NULL, (unsigned)threads);
	for (int i = 1; i < threads; i++)
		if (pthread_create(&ids[i], NULL, work, (void *)(intptr_t)i)) {
			fputs("no thread\n", stderr);
			exit(1);
		}
	work(NULL);
	for (int i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}
