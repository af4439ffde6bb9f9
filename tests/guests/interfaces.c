/* SIOCGIFCONF: how much there is, all of it, as much as fits; and nothing. */
#include "guest.h"
#include <net/if.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
int main(void)
{
	struct ifreq all[64], one[2];
	struct ifconf want = { .ifc_len = 0, .ifc_buf = NULL };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(fd >= 0);
	CHECK(ioctl(fd, SIOCGIFCONF, &want) == 0 && want.ifc_len % sizeof *all == 0);
	say("needs %d\n", want.ifc_len);
	memset(all, 0xa5, sizeof all);
	want = (struct ifconf){ .ifc_len = sizeof all, .ifc_req = all };
	CHECK(ioctl(fd, SIOCGIFCONF, &want) == 0);
	int n = want.ifc_len / sizeof *all;
	for (int i = 0; i < n; i++)
		say("%s family %d\n", all[i].ifr_name, all[i].ifr_addr.sa_family);
	voted(all, want.ifc_len);
	say("the rest is left: %d\n", ((unsigned char *)(all + n))[0] == 0xa5);
	memset(one, 0xa5, sizeof one);
	want = (struct ifconf){ .ifc_len = sizeof *one, .ifc_req = one };
	CHECK(ioctl(fd, SIOCGIFCONF, &want) == 0);
	say("%d, %s\n", want.ifc_len, want.ifc_len > 0 ? one->ifr_name : "none");
	say("the rest is left: %d\n", ((unsigned char *)(one + 1))[0] == 0xa5);
	want = (struct ifconf){ .ifc_len = 7, .ifc_req = one };
	CHECK(ioctl(fd, SIOCGIFCONF, &want) == 0);
	say("too little: %d\n", want.ifc_len);
	want = (struct ifconf){ .ifc_len = -1, .ifc_req = one };
	int r = ioctl(fd, SIOCGIFCONF, &want);
	say("negative: %d, %d\n", r, want.ifc_len);
	FAILS(ioctl(fd, SIOCGIFCONF, NULL), EFAULT);
	want = (struct ifconf){ .ifc_len = sizeof *one, .ifc_buf = (char *)8 };
	r = ioctl(fd, SIOCGIFCONF, &want);
	say("nowhere: %d, %d\n", r, r == 0 ? 0 : errno);
	int space = ioctl(fd, SIOCGSKNS); /* needs a privilege */
	say("namespace: %d\n", space < 0 ? -errno : fcntl(space, F_GETFD));
	return 0;
}
