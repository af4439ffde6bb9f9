/* What each thread has of its own: variables with and without a first value,
 * errno, and keys whose destructors run at its end, again where they set it. */
#include "threads.h"
static __thread int counted = 42;
static __thread char room[5000] __attribute__((aligned(64)));
static pthread_key_t plain, again;
static atomic_int destroyed, repeated;
static pthread_barrier_t all_set;
static int *others[6];
static void destroys(void *value)
{
	CHECK(pthread_getspecific(plain) == NULL);
	destroyed += (long)value;
}
static void sets_again(void *value)
{
	repeated++;
	if ((long)value > 1)
		OK(pthread_setspecific(again, (void *)((long)value - 1)));
}
static void *uses(void *number)
{
	long me = (long)number;
	CHECK(counted == 42 && room[4999] == 0 && (uintptr_t)room % 64 == 0);
	CHECK(pthread_getspecific(plain) == NULL);
	others[me] = &counted;
	errno = (int)me;
	for (int i = 0; i < 100 * me; i++)
		counted++;
	memset(room, (int)me, sizeof room);
	if (me > 0) {
		OK(pthread_setspecific(plain, (void *)me));
		OK(pthread_setspecific(again, (void *)me));
	}
	pthread_barrier_wait(&all_set);
	for (int i = 0; i < 6; i++)
		CHECK(*others[i] == 42 + 100 * i && (i == me || others[i] != &counted));
	CHECK(errno == me && pthread_getspecific(plain) == (void *)me);
	for (size_t i = 0; i < sizeof room; i++)
		CHECK(room[i] == me);
	pthread_barrier_wait(&all_set);
	return number;
}
int main(void)
{
	pthread_key_t spare;
	OK(pthread_key_create(&plain, destroys));
	OK(pthread_key_create(&again, sets_again));
	OK(pthread_key_create(&spare, NULL));
	OK(pthread_key_delete(spare));
	GIVES(pthread_setspecific(spare, &spare), EINVAL);
	OK(pthread_barrier_init(&all_set, NULL, 6));
	all(6, uses);
	/* Of a value n, min(n, 4) rounds: 1 + 2 + 3 + 4 + 4. */
	say("destroyed %d, repeated %d, of main %d\n", destroyed, repeated, counted);
	return 0;
}
