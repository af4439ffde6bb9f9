/* System V message queues and semaphores, POSIX message queues. */
#include "guest.h"
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
int main(void)
{
	struct {
		long kind;
		char text[32];
	} message = { 3, "system five" };
	int queue = msgget(IPC_PRIVATE, 0600 | IPC_CREAT);
	CHECK(queue >= 0 && msgsnd(queue, &message, 12, 0) == 0);
	pid_t child = fork();
	if (child == 0) {
		ssize_t got = msgrcv(queue, &message, sizeof message.text, 3, 0);
		CHECK(got == 12);
		message.kind = 4;
		message.text[0] = 'S';
		CHECK(msgsnd(queue, &message, 12, 0) == 0);
		_exit(0);
	}
	CHECK(msgrcv(queue, &message, sizeof message.text, 4, 0) == 12);
	exited_with(child, 0);
	say("%s\n", message.text);
	CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
	int set = semget(IPC_PRIVATE, 1, 0600 | IPC_CREAT);
	CHECK(set >= 0);
	child = fork();
	if (child == 0) {
		struct sembuf up = { 0, 1, 0 };
		usleep(20000);
		CHECK(semop(set, &up, 1) == 0);
		_exit(0);
	}
	struct sembuf down = { 0, -1, 0 };
	CHECK(semop(set, &down, 1) == 0 && semctl(set, 0, GETVAL) == 0);
	exited_with(child, 0);
	CHECK(semctl(set, 0, IPC_RMID) == 0);
	char name[64];
	snprintf(name, sizeof name, "/chameleon-guest-%d", getpid());
	struct mq_attr attributes = { .mq_maxmsg = 3, .mq_msgsize = 64 };
	mqd_t mail = mq_open(name, O_CREAT | O_RDWR | O_EXCL, 0600, &attributes);
	CHECK(mail >= 0 && mq_unlink(name) == 0);
	CHECK(mq_send(mail, "low", 3, 1) == 0 && mq_send(mail, "high", 4, 9) == 0);
	char text[64] = "";
	unsigned priority;
	CHECK(mq_receive(mail, text, sizeof text, &priority) == 4 && priority == 9);
	say("%s\n", text);
	return 0;
}
