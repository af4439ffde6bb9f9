/* UDP over loopback: sendto, sendmsg, sendmmsg, recvmmsg, addresses. */
#include "guest.h"
#include <arpa/inet.h>
#include <sys/socket.h>
int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from;
	socklen_t length = sizeof at;
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(bind(in, (void *)&at, sizeof at) == 0 && getsockname(in, (void *)&at, &length) == 0);
	char text[64] = "";
	CHECK(sendto(out, "first", 5, 0, (void *)&at, sizeof at) == 5);
	length = sizeof from;
	CHECK(recvfrom(in, text, sizeof text, 0, (void *)&from, &length) == 5);
	say("%s from port %s\n", text, from.sin_port ? "set" : "unset");
	CHECK(connect(out, (void *)&at, sizeof at) == 0);
	struct iovec parts[3] = { { "scatter", 7 }, { "-", 1 }, { "gather", 6 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 3 };
	CHECK(sendmsg(out, &message, 0) == 14);
	char left[5] = "", right[20] = "";
	struct iovec into[2] = { { left, 4 }, { right, 19 } };
	struct msghdr reception = { .msg_iov = into, .msg_iovlen = 2, .msg_name = &from, .msg_namelen = sizeof from };
	CHECK(recvmsg(in, &reception, 0) == 14 && reception.msg_namelen == sizeof from);
	say("%s|%s\n", left, right);
	struct iovec one[4];
	struct mmsghdr many[4];
	char words[4][8] = { "aa", "bbb", "cccc", "ddddd" };
	memset(many, 0, sizeof many);
	for (int i = 0; i < 4; i++) {
		one[i] = (struct iovec){ words[i], strlen(words[i]) };
		many[i].msg_hdr.msg_iov = &one[i];
		many[i].msg_hdr.msg_iovlen = 1;
	}
	CHECK(sendmmsg(out, many, 4, 0) == 4 && many[3].msg_len == 5);
	char rooms[4][16];
	memset(rooms, 0, sizeof rooms);
	for (int i = 0; i < 4; i++)
		one[i] = (struct iovec){ rooms[i], 15 };
	CHECK(recvmmsg(in, many, 4, MSG_WAITFORONE, NULL) == 4);
	for (int i = 0; i < 4; i++)
		say("%u %s\n", many[i].msg_len, rooms[i]);
	FAILS(recv(in, text, 1, MSG_DONTWAIT), EAGAIN);
	struct timeval soon = { 0, 20000 };
	CHECK(setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
	FAILS(recv(in, text, 1, 0), EAGAIN);
	say("ok udp\n");
	return 0;
}
