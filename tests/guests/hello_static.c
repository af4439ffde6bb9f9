/* The smallest static guest: one line out, exit status from its argument. */
#include "guest.h"
int main(int argc, char **argv)
{
	say("hello from %d arguments\n", argc - 1);
	return argc > 1 ? atoi(argv[1]) : 0;
}
