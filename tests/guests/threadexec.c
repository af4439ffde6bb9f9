/* exec in a process of several threads, one of which waits on the standard
 * input: by the main thread, or (with an argument) by another. What is left of
 * the others must not read what the new program is to read. */
#include "guest.h"
#include <poll.h>
#include <pthread.h>
static char *me;
static void *sleeps(void *to)
{
	poll(NULL, 0, 100000);
	return to;
}
static void *reads(void *to)
{
	read(*(int *)to, &(char){0}, 1);
	return to;
}
static void *calls(void *to)
{
	for (;;)
		getppid();
	return to;
}
static void *executes(void *to)
{
	usleep(20000);
	execl(me, me, "then", to, (char *)NULL);
	return NULL;
}
int main(int argc, char **argv)
{
	pthread_t thread;
	int ends[2];
	char number[12], got = 0;
	me = argv[0];
	if (argc == 3 && strcmp(argv[1], "then") == 0) {
		int end = atoi(argv[2]);
		CHECK(write(end + 1, "x", 1) == 1);
		CHECK(read(end, &got, 1) == 1 && got == 'x');
		say("the new program reads what is its own\n");
		return 5;
	}
	CHECK(pipe(ends) == 0 && ends[1] == ends[0] + 1);
	snprintf(number, sizeof number, "%d", ends[0]);
	CHECK(pthread_create(&thread, NULL, sleeps, NULL) == 0);
	CHECK(pthread_create(&thread, NULL, calls, NULL) == 0);
	CHECK(pthread_create(&thread, NULL, reads, &ends[0]) == 0);
	if (argc == 2) {
		CHECK(pthread_create(&thread, NULL, executes, number) == 0);
		pthread_join(thread, NULL);
	}
	executes(number);
	return 99;
}
