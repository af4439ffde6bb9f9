/* Trees of forks: every exit status travels up, memory is private. */
#include "guest.h"
static int depth_first(int depth)
{
	static int here = 0;
	int total = 1;
	for (int i = 0; i < 2 && depth > 0; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			here++;
			_exit(depth_first(depth - 1));
		}
		int status = reap(child);
		CHECK(WIFEXITED(status));
		total += WEXITSTATUS(status);
	}
	return total;
}
int main(void)
{
	say("processes %d\n", depth_first(3));
	pid_t children[8];
	for (int i = 0; i < 8; i++) {
		CHECK((children[i] = fork()) >= 0);
		if (children[i] == 0)
			_exit(10 + i);
	}
	for (int i = 7; i >= 0; i--)
		exited_with(children[i], 10 + i);
	for (int i = 0; i < 10; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			say("child %d\n", i);
			exit(0);
		}
		exited_with(child, 0);
	}
	say("ok forks\n");
	return 0;
}
