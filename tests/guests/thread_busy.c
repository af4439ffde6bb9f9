/* Signals to a thread that computes without calls, while all others wait or compute as
 * well: the handler runs in the thread that lets the signal through, returns to where that
 * one was, may jump out of it, and may itself be interrupted while it computes. With the
 * argument "d" the default action ends the program. */
#include "threads.h"
#include <setjmp.h>
#include <sys/time.h>
static volatile sig_atomic_t seen, inner, ticks;
static volatile pid_t who;
static sigjmp_buf out;
static void in(int milliseconds)
{
	struct itimerval once = { { 0, 0 }, { 0, milliseconds * 1000 } };
	CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}
static void notes(int signal)
{
	who = gettid();
	seen++;
}
static void jumps(int signal)
{
	who = gettid();
	siglongjmp(out, 1);
}
static void second(int signal)
{
	inner++;
}
static void computes_itself(int signal)
{
	who = gettid();
	pthread_kill(pthread_self(), SIGUSR2); /* blocked here */
	in(120);
	while (!ticks)
		;
	seen++;
}
static void tick(int signal)
{
	ticks++;
}
static void handles(int signal, void (*with)(int), int blocked)
{
	struct sigaction act = { .sa_handler = with };
	sigemptyset(&act.sa_mask);
	if (blocked)
		sigaddset(&act.sa_mask, blocked);
	CHECK(sigaction(signal, &act, NULL) == 0);
}
static void let_through(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	OK(pthread_sigmask(how, &set, NULL));
}
static void *spins(void *unused)
{
	double x = 1.5;
	long kept = 0x1234567;
	let_through(SIG_UNBLOCK);

	handles(SIGALRM, notes, 0);
	in(100);
	while (!seen)
		;
	CHECK(who == gettid());
	say("a handler in the thread that computes\n");

	handles(SIGALRM, jumps, 0);
	if (sigsetjmp(out, 1) == 0) {
		in(100);
		for (;;)
			;
	}
	CHECK(who == gettid());
	say("a jump out of it\n");

	/* In a handler that computes another signal comes, and then the rest. */
	handles(SIGUSR1, computes_itself, SIGUSR2);
	handles(SIGUSR2, second, 0);
	handles(SIGALRM, tick, 0);
	seen = 0;
	pthread_kill(pthread_self(), SIGUSR1);
	while (!seen || !inner)
		;
	CHECK(who == gettid() && x == 1.5 && kept == 0x1234567);
	say("a signal in a handler, %d and %d\n", (int)ticks, (int)inner);
	return unused;
}
static _Noreturn void *dies(void *unused)
{
	let_through(SIG_UNBLOCK);
	in(100);
	for (;;)
		;
}
static _Noreturn void *computes(void *unused)
{
	for (;;)
		;
}
int main(int argc, char **argv)
{
	pthread_t thread;
	let_through(SIG_BLOCK);
	if (argc > 1) {
		begin(computes, NULL);
		thread = begin(dies, NULL);
	} else {
		thread = begin(spins, NULL);
	}
	ended(thread);
	say("done\n");
	return 0;
}
