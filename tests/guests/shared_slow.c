/* Calls that change a mapped file and take long, as the process is stopped and continued all the time: what is
 * written to memory behind each is in the file, and what each wrote is in memory. */
#include "guest.h"
#include <sys/mman.h>
#include <sys/uio.h>
enum { PAGE = 4096, ROUNDS = 60 };
int main(void)
{
	pid_t parent = getpid();
	pid_t child = fork();
	if (child == 0) {
		while (getppid() == parent) {
			kill(parent, SIGSTOP);
			usleep(15000);
			kill(parent, SIGCONT);
			usleep(1000);
		}
		_exit(0);
	}
	int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
	char *map = mmap(NULL, (ROUNDS + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	for (long i = 0; i < ROUNDS; i++) {
		char back[16] = "", text[16];
		snprintf(text, sizeof text, "round %ld", i);
		CHECK(ftruncate(fd, (i + 1) * PAGE) == 0);
		strcpy(map + i * PAGE, text);
		CHECK(pread(fd, back, sizeof back, i * PAGE) == sizeof back);
		CHECK(strcmp(back, text) == 0);
		CHECK(pwrite(fd, "written", 8, i * PAGE + 100) == 8);
		CHECK(strcmp(map + i * PAGE + 100, "written") == 0);
		CHECK(lseek(fd, i * PAGE + 200, SEEK_SET) >= 0);
		struct iovec two[2] = {{"gath", 4}, {"ered", 5}};
		CHECK(writev(fd, two, 2) == 9);
		CHECK(strcmp(map + i * PAGE + 200, "gathered") == 0);
	}
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	say("ok shared_slow\n");
	return 0;
}
