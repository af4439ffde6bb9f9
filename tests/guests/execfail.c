/* An exec that fails leaves the program as it was, with the right errno. */
#include "guest.h"
int main(void)
{
	char *args[] = { "x", NULL }, *none[] = { NULL };
	FAILS(execve("/missing", args, none), ENOENT);
	FAILS(execve("/etc/passwd/x", args, none), ENOTDIR);
	FAILS(execve("/", args, none), EACCES);
	int fd = open("plain", O_CREAT | O_WRONLY, 0644);
	close(fd);
	FAILS(execve("./plain", args, none), EACCES);
	fd = open("junk", O_CREAT | O_WRONLY, 0755);
	write_all(fd, "\001\002junk junk junk", 16);
	close(fd);
	FAILS(execve("./junk", args, none), ENOEXEC);
	fd = open("lost", O_CREAT | O_WRONLY, 0755);
	write_all(fd, "#!/missing/interpreter\n", 23);
	close(fd);
	FAILS(execve("./lost", args, none), ENOENT);
	char *huge = malloc(200000);
	memset(huge, 'x', 199999);
	huge[199999] = 0;
	FAILS(execve("/bin/true", (char *[]){ "x", huge, NULL }, none), E2BIG);
	char *volatile wild = (char *)16;
	FAILS(execve("/bin/true", (char **)wild, none), EFAULT);
	FAILS(execve(wild, args, none), EFAULT);
	CHECK(symlink("loop", "loop") == 0);
	FAILS(execve("./loop", args, none), ELOOP);
	say("ok execfail\n");
	return 0;
}
