/* Processes that come to share memory by its name, after they were forked: a counter behind a named
 * semaphore, or behind a mutex in a file or a segment, is right however they contend for it.
 * `e`: programs that were executed; `f`: forked ones; `s`: by a segment's key; `t`: with threads;
 * `w`: one computes, without a call, until the other has mapped. */
#include "guest.h"
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
enum { PROCESSES = 3, TURNS = 1000 };
struct memory {
	pthread_mutex_t mutex;
	volatile long count, again;
	volatile int ready, answer;
};
static char semaphore[40], memory[40];
static struct memory *mapped(const char *name)
{
	int fd = shm_open(name, O_RDWR, 0);
	struct memory *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(m != MAP_FAILED && close(fd) == 0);
	return m;
}
static void counts(struct memory *m, sem_t *turn)
{
	for (int i = 0; i < TURNS; i++) {
		CHECK(turn ? sem_wait(turn) == 0 : pthread_mutex_lock(&m->mutex) == 0);
		m->count++;
		if (i % 8 == 0)
			usleep(50); /* long enough for the others to come and wait */
		m->again = m->count;
		CHECK(turn ? sem_post(turn) == 0 : pthread_mutex_unlock(&m->mutex) == 0);
	}
}
static void *counts_in_thread(void *m)
{
	counts(m, NULL);
	return NULL;
}
static void child(char how, int segment)
{
	if (how == 's') {
		counts(shmat(segment, NULL, 0), NULL);
	} else if (how == 't') {
		pthread_t thread;
		struct memory *m = mapped(memory);
		CHECK(pthread_create(&thread, NULL, counts_in_thread, m) == 0);
		counts(m, NULL);
		CHECK(pthread_join(thread, NULL) == 0);
	} else {
		counts(mapped(memory), sem_open(semaphore, 0));
	}
}
static void computes(void)
{
	struct memory *m = mapped(memory);
	m->ready = 1;
	while (!m->answer)
		;
	_exit(m->answer);
}
/* What is shared is made by a process that ends: those that share memory when they are forked would be
 * one from the start. */
static void prepares(int segment)
{
	struct memory start = { .count = 0 };
	pthread_mutexattr_t shared;
	CHECK(sem_open(semaphore, O_CREAT | O_EXCL, 0600, 1) != SEM_FAILED);
	CHECK(pthread_mutexattr_init(&shared) == 0);
	CHECK(pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutex_init(&start.mutex, &shared) == 0);
	int fd = shm_open(memory, O_CREAT | O_EXCL | O_RDWR, 0600);
	CHECK(pwrite(fd, &start, sizeof start, 0) == sizeof start && ftruncate(fd, 4096) == 0);
	struct memory *m = shmat(segment, NULL, 0);
	*m = start;
	_exit(0);
}
static void counted(char how, int segment, char *name)
{
	pid_t children[PROCESSES];
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0 && how == 'e')
			execl("/proc/self/exe", name, "e", semaphore, memory, NULL);
		if (children[i] == 0) {
			child(how, segment);
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		CHECK(reap(children[i]) == 0);
	struct memory *m = how == 's' ? shmat(segment, NULL, 0) : mapped(memory);
	say("%ld %ld\n", m->count, m->again);
}
static void waited_for(void)
{
	pid_t other = fork();
	if (other == 0)
		computes();
	int fd = shm_open(memory, O_RDONLY, 0), ready = 0;
	while (!ready) {
		CHECK(pread(fd, &ready, sizeof ready, offsetof(struct memory, ready)) == sizeof ready);
		usleep(1000);
	}
	mapped(memory)->answer = 7;
	say("%d\n", WEXITSTATUS(reap(other)));
}
int main(int count, char **arguments)
{
	if (count > 2) {
		counts(mapped(arguments[3]), sem_open(arguments[2], 0));
		return 0;
	}
	char how = arguments[1][0];
	snprintf(semaphore, sizeof semaphore, "/guest-s-%d", getpid());
	snprintf(memory, sizeof memory, "/guest-m-%d", getpid());
	int segment = shmget(IPC_PRIVATE, 4096, 0600);
	CHECK(segment >= 0);
	pid_t first = fork();
	if (first == 0)
		prepares(segment);
	CHECK(reap(first) == 0);
	if (how == 'w')
		waited_for();
	else
		counted(how, segment, arguments[0]);
	CHECK(sem_unlink(semaphore) == 0 && shm_unlink(memory) == 0);
	CHECK(shmctl(segment, IPC_RMID, NULL) == 0);
	say("ok shared_named %c\n", how);
	return 0;
}
