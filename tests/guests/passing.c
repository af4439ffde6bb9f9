/* Descriptors and credentials over unix sockets. */
#include "guest.h"
#include <sys/socket.h>
#include <sys/un.h>
static void send_fds(int to, int *fds, int count, const char *word)
{
	char control[256] = "";
	struct iovec part = { (void *)word, strlen(word) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof *fds) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(count * sizeof *fds);
	memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
	CHECK(sendmsg(to, &message, 0) == (ssize_t)strlen(word));
}
int main(void)
{
	int pair[2], ends[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(ends) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		int file = open("passed", O_CREAT | O_RDWR, 0644), list[2] = { file, ends[1] };
		write_all(file, "in the file", 11);
		close(pair[0]);
		send_fds(pair[1], list, 2, "two");
		char c;
		read_all(pair[1], &c, 1);
		_exit(0);
	}
	close(ends[1]);
	close(pair[1]);
	char data[16] = "", control[256];
	struct iovec part = { data, sizeof data };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	CHECK(recvmsg(pair[0], &message, MSG_CMSG_CLOEXEC) == 3);
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	CHECK(head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(8));
	int fds[2];
	memcpy(fds, CMSG_DATA(head), sizeof fds);
	say("word %s, descriptors %d and %d\n", data, fds[0], fds[1]);
	CHECK(fcntl(fds[0], F_GETFD) == FD_CLOEXEC);
	char text[32] = "";
	CHECK(pread(fds[0], text, 31, 0) == 11);
	say("%s\n", text);
	write_all(fds[1], "pipe", 4);
	read_all(ends[0], text, 4);
	write_all(pair[0], "x", 1);
	exited_with(child, 0);

	int dgram[2], on = 1;
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram) == 0);
	CHECK(setsockopt(dgram[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
	CHECK(send(dgram[1], "cred", 4, 0) == 4);
	message.msg_controllen = sizeof control;
	CHECK(recvmsg(dgram[0], &message, 0) == 4);
	head = CMSG_FIRSTHDR(&message);
	CHECK(head && head->cmsg_type == SCM_CREDENTIALS);
	struct ucred who;
	memcpy(&who, CMSG_DATA(head), sizeof who);
	CHECK(who.pid == getpid() && who.uid == getuid());
	socklen_t length = sizeof who;
	CHECK(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.pid == getpid());
	say("ok passing\n");
	return 0;
}
