/* inotify: the events of a directory, in order. */
#include "guest.h"
#include <sys/inotify.h>
int main(void)
{
	char room[8192] __attribute__((aligned(8)));
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	CHECK(fd >= 0 && mkdir("watched", 0755) == 0);
	int watch = inotify_add_watch(fd, "watched", IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE);
	CHECK(watch == 1);
	FAILS(read(fd, room, sizeof room), EAGAIN);
	int file = open("watched/a", O_CREAT | O_WRONLY, 0644);
	write_all(file, "x", 1);
	close(file);
	CHECK(rename("watched/a", "watched/bb") == 0 && unlink("watched/bb") == 0);
	CHECK(inotify_rm_watch(fd, watch) == 0);
	ssize_t got = read(fd, room, sizeof room);
	CHECK(got > 0);
	voted(room, got);
	for (char *at = room; at < room + got;) {
		struct inotify_event *event = (void *)at;
		say("%#x %s\n", event->mask, event->len ? event->name : "-");
		at += sizeof *event + event->len;
	}
	return 0;
}
