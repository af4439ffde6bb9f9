/* stdio of several threads: what one call prints and what flockfile holds
 * together stays together; the lines come through a pipe and are sorted. */
#include "threads.h"
enum { THREADS = 4, LINES = 150, ALL = THREADS * LINES };
static FILE *to;
static char lines[ALL][80];
static int order(const void *left, const void *right)
{
	return strcmp(left, right);
}
static void *prints(void *number)
{
	long me = (long)number;
	for (int i = 0; i < LINES; i++) {
		if (i % 2) {
			fprintf(to, "thread %ld line %03d in one piece\n", me, i);
			continue;
		}
		flockfile(to);
		fprintf(to, "thread %ld ", me);
		fputs("line", to);
		if (i % 30 == 0)
			sched_yield();
		fprintf(to, " %03d ", i);
		for (const char *at = "in several\n"; *at; at++)
			putc_unlocked(*at, to);
		funlockfile(to);
	}
	return number;
}
static void *reads(void *end)
{
	FILE *from = fdopen(*(int *)end, "r");
	int count = 0;
	while (count < ALL && fgets(lines[count], sizeof *lines, from))
		count++;
	CHECK(count == ALL && fgetc(from) == EOF);
	fclose(from);
	return end;
}
static void *tries(void *unused)
{
	CHECK(ftrylockfile(to) != 0);
	return unused;
}
static void pass(int buffering)
{
	int ends[2];
	uint64_t hash = 0;
	CHECK(pipe(ends) == 0 && (to = fdopen(ends[1], "w")));
	setvbuf(to, NULL, buffering, BUFSIZ);
	pthread_t reader = begin(reads, &ends[0]);
	all(THREADS, prints);
	flockfile(to);
	ended(begin(tries, NULL));
	funlockfile(to);
	fclose(to);
	ended(reader);
	qsort(lines, ALL, sizeof *lines, order);
	for (int i = 0; i < ALL; i++)
		hash = sum(hash, lines[i], strlen(lines[i]));
	printf("%s%s%016lx\n", lines[0], lines[ALL - 1], hash);
}
int main(void)
{
	pass(_IOFBF);
	pass(_IOLBF);
	return 0;
}
