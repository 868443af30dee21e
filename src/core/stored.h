/*
 * Values in the node's store.
 *
 * An output of more than MANTA_INLINE_MAX bytes is not copied through messages: the rank that
 * makes it writes it into its share of the store (store/store.h), and what travels is its
 * place. Ranks of the node read it there. It is freed by the rank that made it, when the
 * value there is: at the owner of the task, or, when that is another rank, with the
 * retained result (RELEASE); so whoever holds the ref keeps the block. When that rank dies, its
 * heir (heirs.h) does.
 *
 * Whoever reads one pins it before (pin.h), because values that nobody reads may be on the disk
 * (spill.h); so does nobody else who has its address.
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

/* The bytes at a place, when it is pinned; NULL: on another node, or lost with it or on its disk.
 * Baton held. */
const void *stored_data(struct rank *rank, const struct location *place);
/* It lies on this node, and is not that value any more, or cannot be read back: for when a reader
 * has failed to get it. */
bool stored_is_gone(struct rank *rank, const struct location *place);

#endif
