/* Threads that never end by themselves: two wait, one computes, one makes calls. */
#ifndef STUCK_H
#define STUCK_H
#include "threads.h"
#include <semaphore.h>
static int ends[2];
static sem_t never;
static atomic_int ready;
/* Before the first of them. */
static void make_them_stick(void)
{
	CHECK(pipe2(ends, O_CLOEXEC) == 0 && sem_init(&never, 0, 0) == 0);
}
static void *reads(void *unused)
{
	ready++;
	read(ends[0], &(char){ 0 }, 1);
	CHECK(!"a read that nobody ends");
	return unused;
}
static void *waits(void *unused)
{
	ready++;
	sem_wait(&never);
	return unused;
}
static void *computes(void *unused)
{
	ready++;
	for (volatile unsigned long i = 0;; i++)
		;
	return unused;
}
static void *calls(void *unused)
{
	for (ready++;;)
		getppid();
	return unused;
}
/* Until so many of them are there. */
static void all_stuck(int count)
{
	while (ready < count)
		usleep(500);
}
#endif
