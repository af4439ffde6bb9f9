/* Threads that read the time stamp counter at one place, from its first readings on, and at places of
 * their own; that wait for another by reading it, at a place that can be led elsewhere and at one that
 * cannot; that get a signal meanwhile; and a process that shares memory and runs beside. What they
 * read grows from one to the other, and is the same for all who are compared. */
#include "threads.h"
#include <x86intrin.h>

enum { THREADS = 4 };

__attribute__((noinline)) static uint64_t read_it(void)
{
	return __rdtsc();
}
__attribute__((noinline)) static uint64_t read_before_a_jump(void)
{
	uint32_t low, high;
	asm volatile("rdtsc\n jmp 1f\n nop\n nop\n nop\n 1:" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last, all_read;

static void note(uint64_t (*how)(void))
{
	OK(pthread_mutex_lock(&lock));
	uint64_t now = how();
	/* The counters of two processors may be a little apart. */
	CHECK(now + 100000 > last);
	last = now;
	all_read = all_read * 31 + now;
	OK(pthread_mutex_unlock(&lock));
}

static void *takes_turns(void *number)
{
	uint64_t before = 0;
	for (int i = 0; i < 30; i++) {
		note(i % 5 == (long)number ? read_before_a_jump : read_it);
		sched_yield();
		uint64_t now = read_it();
		CHECK(now > before);
		before = now;
	}
	return number;
}

static void *reads_much(void *number)
{
	uint64_t is = 0, before = 0;
	for (int i = 0; i < 3000; i++) {
		uint64_t now = (long)number % 2 ? __rdtsc() : read_it();
		CHECK(now > before);
		before = now;
		is = is * 31 + now;
	}
	OK(pthread_mutex_lock(&lock));
	all_read = all_read * 31 + is;
	OK(pthread_mutex_unlock(&lock));
	return number;
}

static atomic_int go, came, handled;

static void *waits(void *how)
{
	uint64_t (*read)(void) = how ? read_before_a_jump : read_it;
	atomic_fetch_add(&came, 1);
	while (!atomic_load(&go))
		read();
	return how;
}

static void on_signal(int signal)
{
	for (int i = 0; i < 20; i++)
		read_it();
	atomic_store(&handled, 1);
}

static void *is_told(void *unused)
{
	atomic_fetch_add(&came, 1);
	while (!atomic_load(&handled))
		for (int i = 0; i < 10; i++)
			read_it();
	return unused;
}

static char stack[256 << 10];
static uint64_t child_read;

static int beside(void *unused)
{
	uint64_t before = 0;
	for (int i = 0; i < 100; i++) {
		uint64_t now = i % 2 ? read_it() : __rdtsc();
		if (now <= before)
			return 1;
		before = now;
	}
	child_read = before;
	return 0;
}

int main(void)
{
	all(THREADS, takes_turns);
	voted(&all_read, sizeof all_read);
	all(THREADS, reads_much);
	voted(&all_read, sizeof all_read);

	pthread_t one = begin(waits, NULL), other = begin(waits, (void *)1);
	while (atomic_load(&came) < 2)
		sched_yield();
	note(read_it);
	atomic_store(&go, 1);
	ended(one);
	ended(other);

	signal(SIGUSR1, on_signal);
	one = begin(is_told, NULL);
	while (atomic_load(&came) < 3)
		sched_yield();
	OK(pthread_kill(one, SIGUSR1));
	ended(one);
	note(read_it);
	voted(&all_read, sizeof all_read);

	uint64_t before = read_it();
	pid_t pid = clone(beside, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
	CHECK(pid > 0);
	for (int i = 0; i < 50; i++)
		note(i % 10 ? read_it : read_before_a_jump);
	exited_with(pid, 0);
	CHECK(child_read > before && read_it() > child_read);
	note(read_it);
	voted(&last, sizeof last);
	say("ok thread_stamps\n");
	return 0;
}
