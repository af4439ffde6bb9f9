/* Many and long arguments and variables arrive whole. */
#include "guest.h"
extern char **environ;
int main(int argc, char **argv)
{
	if (argc > 1) {
		uint64_t hash = 0;
		int variables = 0;
		for (int i = 1; i < argc; i++)
			hash = sum(hash, argv[i], strlen(argv[i]) + 1);
		for (char **e = environ; *e; e++, variables++)
			hash = sum(hash, *e, strlen(*e) + 1);
		say("%d arguments, %d variables, %llx\n", argc, variables, (unsigned long long)hash);
		return 0;
	}
	enum { COUNT = 3000, VARIABLES = 500 };
	char **args = calloc(COUNT + 3, sizeof *args), **env = calloc(VARIABLES + 1, sizeof *env);
	args[0] = argv[0];
	for (int i = 1; i <= COUNT; i++) {
		args[i] = malloc(300);
		snprintf(args[i], 300, "argument %d %0*d", i, i % 200 + 1, i);
	}
	args[COUNT + 1] = malloc(100001);
	memset(args[COUNT + 1], 'L', 100000);
	args[COUNT + 1][100000] = 0;
	for (int i = 0; i < VARIABLES; i++) {
		env[i] = malloc(100);
		snprintf(env[i], 100, "VARIABLE_%d=%d", i, i * i);
	}
	execve("/proc/self/exe", args, env);
	perror("execve");
	return 1;
}
