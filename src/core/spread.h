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

/* A block whose bytes are lent to comm, or come in from it: it is not freed meanwhile. */
struct lender {
    uint32_t count; /* of chunks */
    /* It has come down to 0. */
    void (*over)(struct rank *rank, struct lender *lender);
};

/* Answers with a chunk, without copying it where comm can. */
void spread_send(struct rank *rank, uint32_t to, const struct wire_header *header, uint64_t from,
                 const void *data, size_t bytes, struct lender *lender);
void spread_send_gone(struct rank *rank, uint32_t to, const struct wire_header *header,
                      uint64_t from, int code);

/* comm's sink: a chunk has been read. */
void spread_returned(void *rank, struct comm_loan *loan);

/* Frees a value that this rank answers for, at once or when its chunks on their way have been read.
 */
/* Another node has it, or gets it now. */
bool spread_has(const struct rank *rank, const struct location *of);
void spread_free(struct rank *rank, const struct location *of);

#endif
