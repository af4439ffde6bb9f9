/* The auxiliary vector: the same in all copies and true. */
#include "guest.h"
#include <elf.h>
#include <sys/auxv.h>
extern char **environ;
int main(void)
{
	char **at = environ;
	while (*at)
		at++;
	int count = 0, page = 0;
	for (Elf64_auxv_t *v = (void *)(at + 1); v->a_type != AT_NULL; v++) {
		voted(v, sizeof *v);
		count++;
		if (v->a_type == AT_PAGESZ)
			page = v->a_un.a_val;
		if (v->a_type == AT_EXECFN)
			voted((void *)v->a_un.a_val, strlen((char *)v->a_un.a_val));
		if (v->a_type == AT_UID)
			CHECK(v->a_un.a_val == getuid());
		if (v->a_type == AT_EGID)
			CHECK(v->a_un.a_val == getegid());
	}
	CHECK(page == 4096 && count > 8 && getauxval(AT_ENTRY) && getauxval(AT_PHDR));
	say("ok auxv\n");
	return 0;
}
