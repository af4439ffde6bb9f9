/* Whose a signal is: each thread has a mask of its own, a signal to the process
 * goes to the only thread that lets it in, one with a value comes to the thread
 * it was sent to, and a read is begun again after SA_RESTART. */
#include "threads.h"
static atomic_int ready, times, stop, wrong;
static int ends[2];
static __thread int mine;
static void on(int signal)
{
	if (!mine)
		wrong++;
	times++;
}
static sigset_t only(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	return set;
}
static void *lets_in(void *unused)
{
	sigset_t set = only(SIGUSR2), old;
	mine = 1;
	/* The mask is the creator's. */
	OK(pthread_sigmask(SIG_UNBLOCK, &set, &old));
	CHECK(sigismember(&old, SIGUSR2) && !sigismember(&old, SIGUSR1));
	ready = gettid();
	while (!stop)
		usleep(1000);
	return unused;
}
static void *keeps_out(void *unused)
{
	sigset_t waiting;
	while (!stop)
		usleep(1000);
	CHECK(sigpending(&waiting) == 0 && !sigismember(&waiting, SIGUSR2));
	return unused;
}
static void *takes(void *unused)
{
	sigset_t set = only(SIGRTMIN), waiting;
	siginfo_t info;
	ready = gettid();
	for (int i = 0; i < 3; i++) {
		CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == i);
		CHECK(info.si_code == SI_QUEUE && info.si_pid == getpid());
	}
	int which;
	set = only(SIGUSR2);
	OK(sigwait(&set, &which));
	CHECK(which == SIGUSR2 && sigpending(&waiting) == 0 && !sigismember(&waiting, SIGUSR2));
	return unused;
}
static void *reads(void *unused)
{
	char byte = 0;
	mine = 1;
	ready = gettid();
	CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
	return unused;
}
int main(void)
{
	struct sigaction action = { .sa_handler = on };
	sigset_t set = only(SIGUSR2), waiting;
	CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
	OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
	pthread_t one = begin(keeps_out, NULL), two = begin(lets_in, NULL);
	await(&ready);
	for (int i = 1; i <= 10; i++) {
		CHECK(kill(getpid(), SIGUSR2) == 0);
		while (times < i)
			usleep(500);
	}
	stop = 1;
	ended(one);
	ended(two);
	CHECK(times == 10 && wrong == 0);
	say("to the process: %d\n", times);
	/* Sent to a thread that keeps it out, it waits there, and for no other. */
	OK(pthread_kill(pthread_self(), SIGUSR2));
	CHECK(sigpending(&waiting) == 0 && sigismember(&waiting, SIGUSR2));
	ended(begin(keeps_out, NULL));
	ready = 0;
	sigset_t queued = only(SIGRTMIN);
	OK(pthread_sigmask(SIG_BLOCK, &queued, NULL));
	one = begin(takes, NULL);
	await(&ready);
	for (int i = 0; i < 3; i++)
		OK(pthread_sigqueue(one, SIGRTMIN, (union sigval){ .sival_int = i }));
	OK(pthread_kill(one, SIGUSR2));
	ended(one);
	int which;
	OK(sigwait(&set, &which));
	say("to a thread: taken\n");
	action.sa_flags = SA_RESTART;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && pipe(ends) == 0);
	ready = times = 0;
	one = begin(reads, NULL);
	asleep(&ready);
	for (int i = 1; i <= 10; i++) {
		OK(pthread_kill(one, SIGUSR1));
		while (times < i)
			usleep(500);
	}
	write_all(ends[1], "x", 1);
	ended(one);
	CHECK(wrong == 0);
	say("begun again: %d\n", times);
	return 0;
}
