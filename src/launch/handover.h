/*
 * How ranks prove that they share a node: the lowest one hands descriptors to each
 * other one over an abstract socket. The connection stays: it is the pair's line for
 * what must be said when the rings cannot be trusted (launch/watch.h).
 */
#ifndef LAUNCH_HANDOVER_H
#define LAUNCH_HANDOVER_H

#include "launch/card.h"

struct link {
    int socket; /* SOCK_SEQPACKET, non-blocking; -1: none */
    int pidfd;  /* of the other's process; -1: the system has none */
};

/* What is handed over. */
enum { HANDOVER_FDS_MAX = 20 };
struct handover_fds {
    int count;
    int fds[HANDOVER_FDS_MAX];
};

/* Compares 32 bytes in constant time. */
bool secret_is_equal(const uint8_t *a, const uint8_t *b);

/* Before the cards are exchanged, on every rank that may be the lowest of its node. The cards below
 * are those of one node, ranks are places among them. */
int handover_listen(const struct card *card, uint32_t size, int *ret_listener);

/* Rank 0: gives `fds` to all others. links[size] come owned. On failure the reason is in text and
 * nothing is left open. */
int handover_give(const struct base_host *host, int listener, const union card_page *cards,
                  uint32_t size, const struct handover_fds *fds, uint64_t deadline_ns,
                  struct link *links, char *text, size_t text_size);

/* The others. *ret_fds come owned. */
int handover_take(const struct base_host *host, const union card_page *cards, uint32_t rank,
                  uint64_t deadline_ns, struct link *ret_link, struct handover_fds *ret_fds,
                  char *text, size_t text_size);

void link_close(struct link *link);

#endif
