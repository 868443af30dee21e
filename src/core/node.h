/* The ranks of a node: who they are, and which of them does something for the others. */
#ifndef CORE_NODE_H
#define CORE_NODE_H

#include "core/rank.h"

/* The rank with this index on this node; UINT32_MAX: none. O(ranks). */
uint32_t node_rank_at(const struct rank *rank, uint32_t index);

/* Another rank of the same node; called again and again it goes round all of them, dead ones too.
 * Itself when it is alone (or memory is out). O(1), the first time O(ranks). */
uint32_t node_next(struct rank *rank, uint32_t of);

/* Which living rank of this node keeps the copy of a value of another one: all that know of the
 * same deaths say the same. O(ranks of the node). */
uint32_t node_agent(struct rank *rank, struct base_key of);

#endif
