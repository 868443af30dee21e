/*
 * The maker's side of values that other nodes fetch.
 *
 * The maker serves chunks of its own values, and knows the agents (replica.h) that have asked for
 * each, in the order in which they came. The n-th is not served but pointed to an earlier one
 * (sched_source), so that what the maker sends does not grow with the number of nodes. Who
 * comes back, because that source died or has dropped its copy, is served.
 *
 * When the value is freed they are told (FREED).
 */
#ifndef CORE_SPREAD_H
#define CORE_SPREAD_H

#include "core/stored.h"

/* Answers with a chunk. */
void spread_send(struct rank *rank, uint32_t to, const struct wire_header *header, uint64_t from,
                 const void *data, size_t bytes);
void spread_send_gone(struct rank *rank, uint32_t to, const struct wire_header *header,
                      uint64_t from);

/* The value at a place of this rank's share is about to be freed. */
void spread_end(struct rank *rank, const struct location *of);

#endif
