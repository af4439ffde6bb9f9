/* Segments of System V: attached by parent and child, removed while attached, counted as natively, gone
 * with an exec. */
#include "guest.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static unsigned long attached(int id)
{
	struct shmid_ds about;
	CHECK(shmctl(id, IPC_STAT, &about) == 0);
	return about.shm_nattch;
}

/* A process that a tracer ends lets go of its memory a moment after its parent is told. */
static unsigned long settled(int id, unsigned long wanted)
{
	for (int i = 0; i < 1000 && attached(id) != wanted; i++)
		usleep(1000);
	return attached(id);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		say("alone %lu\n", attached(atoi(argv[1])));
		return 0;
	}
	int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
	CHECK(id >= 0 && attached(id) == 0);
	int *one = shmat(id, NULL, 0);
	CHECK(one != (void *)-1 && one[0] == 0);
	one[0] = 41;
	int *look = shmat(id, NULL, SHM_RDONLY);
	CHECK(look != (void *)-1 && look[0] == 41 && look != one);
	say("%lu\n", attached(id));
	pid_t child = fork();
	if (child == 0) {
		one[0]++;
		one[2400] = attached(id);
		CHECK(shmdt(look) == 0);
		one[2401] = attached(id);
		_exit(0);
	}
	exited_with(child, 0);
	say("%d %d %d %lu\n", look[0], look[2400], one[2401], settled(id, 2));
	FAILS(shmdt((char *)one + 4096), EINVAL);
	CHECK(shmdt(look) == 0 && shmdt(one) == 0 && attached(id) == 0);
	FAILS(shmdt(one), EINVAL);
	one = shmat(id, NULL, 0);
	CHECK(one != (void *)-1 && one[0] == 42 && one[2400] == 4);
	char number[16];
	snprintf(number, sizeof number, "%d", id);
	child = fork();
	if (child == 0) {
		one[1] = 17;
		execl("/proc/self/exe", argv[0], number, NULL);
		_exit(9);
	}
	exited_with(child, 0);
	say("%d\n", one[1]);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0 && settled(id, 1) == 1);
	child = fork();
	if (child == 0) {
		one[3] = 5;
		_exit(0);
	}
	exited_with(child, 0);
	say("%d\n", one[3]);
	CHECK(shmdt(one) == 0);
	FAILS((long)shmat(id, NULL, 0), EINVAL);
	int none = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0400);
	CHECK(none >= 0 && shmctl(none, IPC_RMID, NULL) == 0);
	FAILS((long)shmat(none, NULL, 0), EINVAL);
	say("ok shared_sysv\n");
	return 0;
}
