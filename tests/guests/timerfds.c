/* timerfd, eventfd and signalfd, alone and in one poll. */
#include "guest.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
int main(void)
{
	uint64_t n = 0;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec spec = { { 0, 10000000 }, { 0, 10000000 } }, was;
	CHECK(timer >= 0 && timerfd_settime(timer, 0, &spec, NULL) == 0);
	uint64_t total = 0;
	while (total < 5) {
		CHECK(read(timer, &n, 8) == 8 && n >= 1);
		voted(&n, sizeof n);
		total += n;
	}
	CHECK(timerfd_gettime(timer, &was) == 0 && was.it_interval.tv_nsec == 10000000);
	int event = eventfd(3, EFD_NONBLOCK), semaphore = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	CHECK(read(event, &n, 8) == 8 && n == 3);
	FAILS(read(event, &n, 8), EAGAIN);
	n = 40;
	CHECK(write(event, &n, 8) == 8 && write(event, &n, 8) == 8);
	CHECK(read(event, &n, 8) == 8 && n == 80);
	CHECK(read(semaphore, &n, 8) == 8 && n == 1 && read(semaphore, &n, 8) == 8);
	FAILS(read(semaphore, &n, 8), EAGAIN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	int signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct signalfd_siginfo info;
	CHECK(signals >= 0);
	FAILS(read(signals, &info, sizeof info), EAGAIN);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		sigqueue(parent, SIGUSR2, (union sigval){ .sival_int = 9 });
		n = 1;
		write_all(event, &n, 8);
		_exit(0);
	}
	exited_with(child, 0);
	struct pollfd list[3] = { { signals, POLLIN, 0 }, { event, POLLIN, 0 }, { timer, POLLIN, 0 } };
	CHECK(poll(list, 2, 5000) == 2 && list[0].revents == POLLIN && list[1].revents == POLLIN);
	CHECK(read(signals, &info, sizeof info) == sizeof info);
	CHECK(info.ssi_signo == SIGUSR2 && (pid_t)info.ssi_pid == child && info.ssi_int == 9);
	say("ok timerfds\n");
	return 0;
}
