/* Says which signals came; ends at SIGTERM. "ready" comes first. */
#include "guest.h"
#include <sys/ioctl.h>
static volatile sig_atomic_t seen[65];
static void on(int signal) { seen[signal]++; }
int main(void)
{
	static const int list[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGQUIT };
	sigset_t block, open;
	sigfillset(&block);
	sigdelset(&block, SIGTSTP);
	CHECK(sigprocmask(SIG_BLOCK, &block, &open) == 0);
	for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
		CHECK(sigaction(list[i], &(struct sigaction){ .sa_handler = on }, NULL) == 0);
	say("ready\n");
	int told[65] = { 0 };
	while (!seen[SIGTERM]) {
		sigemptyset(&open);
		sigsuspend(&open);
		for (int s = 1; s < 65; s++)
			while (told[s] < seen[s])
				say("signal %d number %d\n", s, ++told[s]);
	}
	return 9;
}
