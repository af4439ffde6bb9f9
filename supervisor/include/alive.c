/*
 * An example of a block: it can stand in for the block Alive (400), which answers pings.
 * Its answers count in tens, so that one sees whose they are.
 *
 *     cc -shared -fPIC -o 10400.so alive.c
 *
 * and, with 10400.so in the environment's directory of blocks,
 *
 *     {"Compose":{"Replace":{"old":400,"new":10400}}}
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chameleon_block.h"

#define PING 1

struct alive {
	uint64_t handled;
};

static void *make(const char *parameters, size_t length)
{
	(void)parameters;
	(void)length;
	return calloc(1, sizeof(struct alive));
}

/* The number behind "nonce": in a message of the length that is given. */
static uint64_t nonce(const char *json, size_t length)
{
	static const char key[] = "\"nonce\":";
	char text[64] = { 0 };
	const char *at;

	memcpy(text, json, length < sizeof text ? length : sizeof text - 1);
	at = strstr(text, key);
	return at ? strtoull(at + sizeof key - 1, NULL, 10) : 0;
}

static void process_message(void *block, uint16_t kind, const char *json, size_t length,
			    const struct chameleon_calls *calls, struct chameleon_outbox *outbox)
{
	struct alive *alive = block;
	char answer[96];
	int n;

	switch (kind) {
	case CHAMELEON_ATTACHED:
		calls->subscribe(outbox, PING);
		break;
	case PING:
		alive->handled += 10;
		n = snprintf(answer, sizeof answer,
			     "{\"Pong\":{\"nonce\":%" PRIu64 ",\"calls\":%" PRIu64 "}}",
			     nonce(json, length), alive->handled);
		calls->reply(outbox, answer, (size_t)n);
		break;
	}
}

const struct chameleon_block *chameleon_block_entry(void)
{
	static const struct chameleon_block block = {
		.abi = CHAMELEON_BLOCK_ABI,
		.name = "alive, in C",
		.make = make,
		.process_message = process_message,
		.drop = free,
	};
	return &block;
}
