/* What becomes of the kernel's locks: one that a thread owns when it ends is the
 * next one's, robust or not; one that is given up belongs at once to who waited
 * longest; no handler ends a wait. */
#include "futexes.h"
enum { P = FUTEX_PRIVATE_FLAG };
static word lock;
static atomic_int held, let_go, waiting[3], order[3], place, handled;
static void take(void)
{
	unsigned none = 0;
	if (!atomic_compare_exchange_strong(&lock, &none, (unsigned)gettid()))
		CHECK(futex(&lock, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0) == 0);
	CHECK((lock & FUTEX_TID_MASK) == (unsigned)gettid());
}
static void give(void)
{
	unsigned mine = (unsigned)gettid();
	if (!atomic_compare_exchange_strong(&lock, &mine, 0))
		CHECK(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0) == 0);
}
static void *dies(void *unused)
{
	take();
	held = 1;
	await(&let_go);
	return unused;
}
static void *inherits(void *unused)
{
	waiting[0] = gettid();
	take();
	CHECK(lock & FUTEX_OWNER_DIED);
	atomic_fetch_and(&lock, ~FUTEX_OWNER_DIED);
	give();
	return unused;
}
static void *waits(void *number)
{
	waiting[(long)number] = gettid();
	take();
	order[place++] = (long)number;
	held = 1;
	await(&let_go);
	give();
	return number;
}
static void handle(int signal)
{
	handled += signal == SIGUSR1;
}
int main(void)
{
	pthread_t threads[3];
	for (int round = 0; round < 10; round++) {
		held = let_go = waiting[0] = 0;
		threads[0] = begin(dies, NULL);
		await(&held);
		threads[1] = begin(inherits, NULL);
		asleep(&waiting[0]);
		let_go = 1;
		ended(threads[0]);
		ended(threads[1]);
		CHECK(lock == 0);
	}
	say("the dead inherited from\n");
	for (int round = 0; round < 10; round++) {
		held = let_go = place = 0;
		take();
		for (long i = 0; i < 3; i++) {
			waiting[i] = 0;
			threads[i] = begin(waits, (void *)i);
			asleep(&waiting[i]);
		}
		give();
		FAILS(futex(&lock, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0), EAGAIN);
		FAILS(futex(&lock, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0), EPERM);
		await(&held);
		let_go = 1;
		for (int i = 0; i < 3; i++)
			ended(threads[i]);
		CHECK(lock == 0 && order[0] == 0 && order[1] == 1 && order[2] == 2);
	}
	say("in order\n");
	struct sigaction action = { .sa_handler = handle };
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	take();
	waiting[0] = let_go = place = 0;
	threads[0] = begin(waits, NULL);
	asleep(&waiting[0]);
	for (int i = 1; i <= 5; i++) {
		OK(pthread_kill(threads[0], SIGUSR1));
		while (handled < i)
			usleep(500);
	}
	CHECK(place == 0);
	let_go = 1;
	give();
	ended(threads[0]);
	say("handled %d\n", handled);
	return 0;
}
