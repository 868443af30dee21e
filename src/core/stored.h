/*
 * Values in the node's store.
 *
 * An output of more than MANTA_INLINE_MAX bytes is not copied through messages: the rank that
 * makes it writes it into its share of the store (store/store.h), and what travels is its
 * place. Ranks of the node read it there. It is freed by the rank that made it, when the
 * value there is: at the owner of the task, or, when that is another rank, with the
 * retained result (RELEASE); so whoever holds the ref keeps the block.
 *
 * Refs inside values are looked at by every rank on the way, so arrays of refs are never
 * stored.
 */
#ifndef CORE_STORED_H
#define CORE_STORED_H

#include "core/rank.h"
#include "store/store.h"

static inline bool stored_is_wanted(const struct rank *rank, uint64_t bytes)
{
    return rank->options.store && bytes > MANTA_INLINE_MAX;
}

/* The bytes at a place; NULL: on another node. Baton held. */
const void *stored_data(struct rank *rank, const struct location *place);

/* store_create; when the bound is reached, copies that nobody reads go first. Baton held. */
int stored_create(struct rank *rank, uint64_t bytes, const struct store_tag *tag,
                  struct store_room *ret_room) MT_CHECKED;

/* last_error of a caller for whom there is no room. Returns the code. Baton held. */
int stored_refuse(struct context *context, int code, uint64_t bytes);

#endif
