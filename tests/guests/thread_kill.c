/* A signal to one thread runs its handler there and breaks its wait, whatever it
 * waits in; it is sent until that is told, since no wait can be seen from
 * outside. */
#include "threads.h"
#include <linux/futex.h>
#include <semaphore.h>
static int ends[2];
static atomic_int ready, broken;
static atomic_int wrong, word;
static sem_t never;
static __thread int mine, count;
static void on(int signal)
{
	if (!mine)
		wrong++;
	count++;
}
static void *pauses(void *unused)
{
	FAILS(pause(), EINTR);
	return unused;
}
static void *reads(void *unused)
{
	char byte;
	FAILS(read(ends[0], &byte, 1), EINTR);
	return unused;
}
static void *sleeps(void *unused)
{
	struct timespec far = { 1000, 0 }, left;
	FAILS(nanosleep(&far, &left), EINTR);
	CHECK(left.tv_sec > 900 && left.tv_sec <= 1000);
	return unused;
}
static void *futexes(void *unused)
{
	FAILS(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINTR);
	return unused;
}
static void *semaphores(void *unused)
{
	FAILS(sem_wait(&never), EINTR);
	return unused;
}
static void *suspends(void *unused)
{
	sigset_t none;
	sigemptyset(&none);
	FAILS(sigsuspend(&none), EINTR);
	return unused;
}
static void *takes(void *unused)
{
	sigset_t other;
	sigemptyset(&other);
	sigaddset(&other, SIGUSR2);
	FAILS(sigwaitinfo(&other, NULL), EINTR);
	return unused;
}
struct one {
	const char *name;
	void *(*run)(void *);
};
static void *waits(void *with)
{
	mine = 1;
	ready = gettid();
	((struct one *)with)->run(NULL);
	broken = 1;
	CHECK(count >= 1);
	return with;
}
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	static struct one every[] = { { "pause", pauses },    { "read", reads },
				      { "nanosleep", sleeps }, { "futex", futexes },
				      { "sem_wait", semaphores }, { "sigsuspend", suspends },
				      { "sigwaitinfo", takes } };
	CHECK(pipe(ends) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(sem_init(&never, 0, 0) == 0);
	for (size_t i = 0; i < sizeof every / sizeof *every; i++) {
		ready = broken = 0;
		pthread_t bystander = begin(reads, NULL), thread = begin(waits, &every[i]);
		asleep(&ready);
		while (!broken) {
			OK(pthread_kill(thread, SIGUSR1));
			usleep(1000);
		}
		ended(thread);
		CHECK(wrong == 0);
		OK(pthread_cancel(bystander));
		CHECK(ended(bystander) == PTHREAD_CANCELED);
		say("broken: %s\n", every[i].name);
	}
	return 0;
}
