/* Directory order is whatever the kernel says, once, for all copies. */
#include "guest.h"
#include <dirent.h>
static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
int main(void)
{
	CHECK(mkdir("d", 0755) == 0);
	for (int i = 0; i < 300; i++) {
		char name[64];
		snprintf(name, sizeof name, "d/entry-%03d-%d", i, i * 7919 % 1000);
		int fd = open(name, O_CREAT | O_WRONLY, 0644);
		CHECK(fd >= 0);
		close(fd);
	}
	DIR *dir = opendir("d");
	CHECK(dir != NULL);
	char *names[400];
	int n = 0;
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		voted(entry->d_name, strlen(entry->d_name));
		voted(&entry->d_ino, sizeof entry->d_ino);
		if (entry->d_name[0] != '.')
			names[n++] = strdup(entry->d_name);
	}
	rewinddir(dir);
	CHECK(readdir(dir) != NULL);
	closedir(dir);
	CHECK(n == 300);
	qsort(names, n, sizeof *names, by_name);
	for (int i = 0; i < n; i += 37)
		say("%s\n", names[i]);
	return 0;
}
