/* Four writers with O_APPEND to one file: no line is torn, none is lost. */
#include "guest.h"
int main(void)
{
	pid_t children[4];
	for (int w = 0; w < 4; w++) {
		CHECK((children[w] = fork()) >= 0);
		if (children[w] == 0) {
			int fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
			char line[32];
			for (int i = 0; i < 200; i++) {
				int n = snprintf(line, sizeof line, "writer %d line %d\n", w, i);
				CHECK(write(fd, line, n) == n);
			}
			_exit(0);
		}
	}
	for (int w = 0; w < 4; w++)
		exited_with(children[w], 0);
	FILE *log = fopen("log", "r");
	int next[4] = { 0 }, w, i, lines = 0;
	while (fscanf(log, "writer %d line %d\n", &w, &i) == 2) {
		CHECK(w >= 0 && w < 4 && next[w] == i);
		next[w]++;
		lines++;
	}
	CHECK(feof(log));
	fclose(log);
	CHECK(unlink("log") == 0);
	say("lines %d\n", lines);
	return 0;
}
