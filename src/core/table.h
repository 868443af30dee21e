/*
 * The table of all that the stores of the job hold, written to a file (manta_store_dump).
 *
 * No rank knows all of it: whose block is where is known to its share, who reads it to the
 * readers, who holds the ref to its owner. So the caller asks every living rank (TABLE), each says
 * what it knows in as many pieces as that takes (TABLE_PART), and the caller puts the entries of
 * one place together. Nobody stops for it: what moves meanwhile may show twice or not at all. It
 * needs no worker and no room in a store, because it is for jobs that are out of both. A rank that
 * dies before it has answered is left out.
 *
 * The file is written by the calling thread, without the baton.
 */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include "core/rank.h"

/* Who waits for the rank's part waits no more. */
void table_peer_down(struct rank *rank, uint32_t dead);

#endif
