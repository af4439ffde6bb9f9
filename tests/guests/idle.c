/* Most of its data is not touched until the end: a fault there stays latent until then. */
#include "guest.h"
static unsigned char quiet[1 << 18] = { 1, 2, 3 };
int main(void)
{
	for (int round = 0; round < 60; round++)
		say("round %d\n", round);
	say("%llx\n", (unsigned long long)sum(0, quiet, sizeof quiet));
	return 0;
}
