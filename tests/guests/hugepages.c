/* Shared memory of huge pages on a machine that has none to give: the kernel's
 * answer, and not a word more. And a floppy's geometry asked of a file. */
#include "guest.h"
#include <linux/fd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
static long number(const char *path)
{
	char text[32] = "0";
	int fd = open(path, O_RDONLY);
	if (fd >= 0) {
		CHECK(read(fd, text, sizeof text - 1) > 0);
		close(fd);
	}
	return atol(text);
}
int main(void)
{
	struct floppy_struct floppy;
	int fd = open("/proc/self/exe", O_RDONLY);
	CHECK(fd >= 0);
	FAILS(ioctl(fd, FDGETPRM, &floppy), ENOTTY);
	if (number("/proc/sys/vm/nr_hugepages") == 0 && number("/proc/sys/vm/nr_overcommit_hugepages") == 0)
		FAILS((long)mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0),
		      ENOMEM);
	say("ok hugepages\n");
	return 0;
}
