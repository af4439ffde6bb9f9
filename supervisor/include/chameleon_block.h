/*
 * A building block of an ARMOR as a shared library.
 *
 * A library with this one entry, chameleon_block_entry(), put as NUMBER.so into the directory of
 * blocks (`blocks/` of an environment), is block NUMBER, from 10000 to 65535. It becomes part of an
 * ARMOR by the message Compose, as any block does, and is heard and obeyed as any block is.
 *
 * A message is its kind (docs/blocks.md lists the numbers) and one JSON value: its fields, as in
 * {"Ping":{"nonce":7}}. What is without fields is a string: "Ready".
 *
 * All functions are called by one thread, never two at once. A block must not wait, must not throw,
 * and must not keep the outbox beyond the call. Text is UTF-8, is not terminated, and is the
 * caller's: copy what is to be kept.
 */
#ifndef CHAMELEON_BLOCK_H
#define CHAMELEON_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. A library of another one is refused. */
#define CHAMELEON_BLOCK_ABI 1

/* Kinds that come without a subscription: first and last of a block's life. */
#define CHAMELEON_ATTACHED 11
#define CHAMELEON_DETACHED 12

/* The name of an ARMOR. */
struct chameleon_armor {
	uint32_t kind;        /* registered type, below 65536 */
	uint32_t number;      /* which of its type */
	uint32_t incarnation; /* how often it was started before */
};

/* What a block says while it handles a message. */
struct chameleon_outbox;

/* What a block may call while it handles a message. Each returns 0, or -1 if the JSON is no message
 * or the kind no kind; then nothing was said. */
struct chameleon_calls {
	uint32_t abi;
	/* To another ARMOR. */
	int (*send)(struct chameleon_outbox *, const struct chameleon_armor *to, const char *json,
		    size_t length);
	/* To the blocks of this ARMOR. */
	int (*post)(struct chameleon_outbox *, const char *json, size_t length);
	/* To the sender of the message at hand. */
	int (*reply)(struct chameleon_outbox *, const char *json, size_t length);
	/* From now on messages of this kind come. */
	int (*subscribe)(struct chameleon_outbox *, uint16_t kind);
	/* Who sent the message at hand, and who this ARMOR is. */
	struct chameleon_armor (*source)(const struct chameleon_outbox *);
	struct chameleon_armor (*own)(const struct chameleon_outbox *);
};

/* A block. */
struct chameleon_block {
	uint32_t abi; /* CHAMELEON_BLOCK_ABI */
	const char *name; /* terminated, for people */
	/* One block for one ARMOR, from that ARMOR's parameters (TOML); NULL if they will not do. */
	void *(*make)(const char *parameters, size_t length);
	/* The only entry. */
	void (*process_message)(void *block, uint16_t kind, const char *json, size_t length,
				const struct chameleon_calls *, struct chameleon_outbox *);
	/* The end, after CHAMELEON_DETACHED. */
	void (*drop)(void *block);
};

/* What the library defines. It lives as long as the process. */
const struct chameleon_block *chameleon_block_entry(void);

#ifdef __cplusplus
}
#endif

#endif
