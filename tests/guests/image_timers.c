/* Timers of every kind in a program with a helper thread: timer_create(2) to the process, to a thread by number
 * (SIGEV_THREAD), by nobody, with holes in the numbers; setitimer(2) of time and of CPU time; a timerfd, of which
 * expiries are not read at once. Each counts to its end; what is written says only that it did. */
#include "threads.h"
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

static atomic_int by_signal, by_thread, by_alarm, by_cpu;

static void on_usr1(int s, siginfo_t *info, void *c)
{
	(void)s;
	(void)c;
	if (info->si_code == SI_TIMER && info->si_value.sival_int == 77)
		by_signal++;
}

static void on_alarm(int s) { (void)s; by_alarm++; }
static void on_prof(int s) { (void)s; by_cpu++; }

static void called(union sigval v)
{
	if (v.sival_int == 55)
		by_thread++;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 60;
	struct itimerspec every = { { 0, 20000000 }, { 0, 20000000 } };
	struct itimerval often = { { 0, 15000 }, { 0, 15000 } };
	struct sigaction act = { .sa_sigaction = on_usr1, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1,
				  .sigev_value.sival_int = 77 };
	timer_t gone, signals, threads, nobody;

	int out = open("out", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	CHECK(out >= 0);
	CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
	act.sa_flags = SA_RESTART;
	act.sa_handler = on_alarm;
	CHECK(sigaction(SIGALRM, &act, NULL) == 0);
	act.sa_handler = on_prof;
	CHECK(sigaction(SIGPROF, &act, NULL) == 0);

	CHECK(timer_create(CLOCK_MONOTONIC, &event, &gone) == 0);
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &signals) == 0);
	CHECK(timer_delete(gone) == 0);
	event.sigev_notify = SIGEV_THREAD;
	event.sigev_notify_function = called;
	event.sigev_value.sival_int = 55;
	CHECK(timer_create(CLOCK_REALTIME, &event, &threads) == 0);
	event.sigev_notify = SIGEV_NONE;
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &nobody) == 0);
	CHECK(timer_settime(signals, 0, &every, NULL) == 0);
	CHECK(timer_settime(threads, 0, &every, NULL) == 0);
	struct itimerspec hour = { { 0, 0 }, { 3600, 0 } };
	CHECK(timer_settime(nobody, 0, &hour, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	CHECK(timerfd_settime(fd, 0, &every, NULL) == 0);

	uint64_t ticks = 0;
	volatile uint64_t sum = 0;
	for (int i = 0; i < rounds; i++) {
		uint64_t n;
		for (long k = 0; k < 100000; k++)
			sum += k * k;
		struct timespec t = { .tv_nsec = 30000000 };
		while (nanosleep(&t, &t) < 0)
			CHECK(errno == EINTR);
		CHECK(read(fd, &n, sizeof(n)) == sizeof(n) && n > 0);
		ticks += n;
		dprintf(out, "round %d\n", i);
		pause_unless_hurried(150000);
	}
	struct itimerspec left;
	CHECK(timer_gettime(nobody, &left) == 0);
	CHECK(left.it_value.tv_sec > 3000 && left.it_value.tv_sec < 3600);
	/* All go on: each comes once more, and often enough. */
	int was = by_signal, thread = by_thread, alarm = by_alarm, cpu = by_cpu;
	while (by_signal == was || by_thread == thread || by_alarm == alarm || by_cpu == cpu) {
		for (long k = 0; k < 1000000; k++)
			sum += k * k;
		getppid();
	}
	CHECK((int)ticks >= rounds && by_signal >= rounds / 2 && by_alarm >= rounds / 2);
	CHECK(timer_delete(signals) == 0 && timer_delete(threads) == 0 && timer_delete(nobody) == 0);
	FAILS(syscall(SYS_timer_delete, 999), EINVAL);
	dprintf(out, "done\n");
	return 0;
}
