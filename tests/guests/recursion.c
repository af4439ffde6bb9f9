/* The stack grows by 6 MB, and what lies on it is right. */
#include "guest.h"
static unsigned long down(int depth, unsigned long seed)
{
	volatile unsigned long room[64];
	for (int i = 0; i < 64; i++)
		room[i] = seed * i + depth;
	unsigned long below = depth ? down(depth - 1, seed + 1) : 1;
	for (int i = 0; i < 64; i++)
		below = below * 33 + room[i];
	return below;
}
int main(void)
{
	say("%lx\n", down(10000, 7));
	return 0;
}
