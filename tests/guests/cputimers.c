/* ITIMER_PROF and ITIMER_VIRTUAL: they expire as the program computes, send the
 * kernel's own signal, are kept by exec and not by fork, and kill by default.
 * With the argument "still" it computes without a call until one comes. */
#include "guest.h"
#include <sys/resource.h>
#include <sys/time.h>
static volatile sig_atomic_t rings;
static volatile int code, sender;
static const struct itimerval off;
static void on(int signal, siginfo_t *info, void *context)
{
	rings++;
	code = info->si_code;
	sender = info->si_pid;
}
static void compute(void)
{
	for (volatile int i = 0; i < 100000; i++)
		;
	getppid();
}
static void count(int which, int signal)
{
	struct itimerval every = { { 0, 20000 }, { 0, 30000 } }, was;
	struct sigaction action = { .sa_sigaction = on, .sa_flags = SA_SIGINFO };
	CHECK(sigaction(signal, &action, NULL) == 0);
	rings = 0;
	CHECK(setitimer(which, &every, &was) == 0);
	CHECK(was.it_value.tv_sec == 0 && was.it_value.tv_usec == 0);
	CHECK(getitimer(which, &was) == 0);
	/* The kernel adds a tick, 4 or 10 ms. */
	CHECK(was.it_value.tv_usec > 0 && was.it_value.tv_usec <= 40000);
	say("interval %ld\n", (long)was.it_interval.tv_usec);
	while (rings < 5)
		compute();
	pid_t child = fork();
	if (child == 0) {
		CHECK(getitimer(which, &was) == 0 && was.it_value.tv_usec == 0);
		_exit(0);
	}
	exited_with(child, 0);
	CHECK(setitimer(which, &off, &was) == 0);
	CHECK(was.it_value.tv_usec > 0 && was.it_interval.tv_usec == 20000);
	int had = rings;
	for (int i = 0; i < 300; i++)
		compute();
	say("more: %d, code %#x from %d\n", rings - had > 1, code, sender);
}
static int dies_of(int which)
{
	pid_t child = fork();
	if (child == 0) {
		struct itimerval once = { { 0, 0 }, { 0, 20000 } };
		CHECK(setitimer(which, &once, NULL) == 0);
		for (;;)
			compute();
	}
	int status = reap(child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}
int main(int argc, char **argv)
{
	struct itimerval once = { { 0, 0 }, { 0, 10000 } }, was;
	if (argc > 1 && strcmp(argv[1], "still") == 0) {
		struct sigaction action = { .sa_sigaction = on, .sa_flags = SA_SIGINFO };
		CHECK(sigaction(SIGPROF, &action, NULL) == 0);
		CHECK(setitimer(ITIMER_PROF, &once, NULL) == 0);
		while (rings == 0)
			;
		say("code %#x from %d\n", code, sender);
		return 0;
	}
	if (argc > 1) {
		CHECK(getitimer(ITIMER_PROF, &was) == 0);
		say("kept: %d\n", was.it_interval.tv_sec == 7 && was.it_value.tv_sec > 0);
		return 0;
	}
	count(ITIMER_PROF, SIGPROF);
	count(ITIMER_VIRTUAL, SIGVTALRM);
	struct itimerval wrong = { { 0, 0 }, { 0, 1000000 } };
	FAILS(setitimer(ITIMER_PROF, &wrong, NULL), EINVAL);
	signal(SIGPROF, SIG_DFL);
	signal(SIGVTALRM, SIG_DFL);
	say("dies of %d and %d\n", dies_of(ITIMER_PROF) == SIGPROF,
	    dies_of(ITIMER_VIRTUAL) == SIGVTALRM);

	/* Blocked, it waits for whoever asks. */
	sigset_t set, pending;
	siginfo_t info;
	sigemptyset(&set);
	sigaddset(&set, SIGPROF);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && setitimer(ITIMER_PROF, &once, NULL) == 0);
	do {
		compute();
		CHECK(sigpending(&pending) == 0);
	} while (!sigismember(&pending, SIGPROF));
	memset(&info, 0xff, sizeof info);
	CHECK(sigwaitinfo(&set, &info) == SIGPROF);
	say("waited for: code %#x from %d\n", info.si_code, info.si_pid);
	CHECK(getitimer(ITIMER_PROF, &was) == 0 && was.it_value.tv_usec == 0);

	struct itimerval long_one = { { 7, 0 }, { 60, 0 } };
	CHECK(setitimer(ITIMER_PROF, &long_one, NULL) == 0);
	execl("/proc/self/exe", argv[0], "again", (char *)NULL);
	return 98;
}
