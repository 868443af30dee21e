/*
 * How ranks on other hosts get their line to rank 0: they call it by TCP. The line is what a
 * line on the node is (launch/handover.h), without a pidfd.
 */
#ifndef LAUNCH_JOIN_H
#define LAUNCH_JOIN_H

#include "launch/handover.h"

/* Before the cards are exchanged, on rank 0: an ephemeral port at all addresses of the host, noted
 * in the card. */
int join_listen(struct card *card, int *ret_listener);

/* Rank 0: waits for every rank whose link has no socket yet. On failure the reason is in text; the
 * links are the caller's in any case. */
int join_accept(const struct base_host *host, int listener, const union card_page *cards,
                uint32_t size, uint64_t deadline_ns, struct link *links, char *text,
                size_t text_size);

/* The others. */
int join_call(const struct base_host *host, const union card_page *cards, uint32_t rank,
              uint64_t deadline_ns, struct link *ret_link, char *text, size_t text_size);

#endif
