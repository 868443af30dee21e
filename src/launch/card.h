/*
 * What ranks tell each other before there is a channel between them: one card each,
 * of a size and with a head that never change, so that versions can compare.
 */
#ifndef LAUNCH_CARD_H
#define LAUNCH_CARD_H

#include "base/host.h"
#include "topo/topo.h"

#include <manta/error.h>

#define CARD_BYTES 512
#define CARD_ADDRESSES 6
#define CARD_MAGIC UINT64_C(0x6d616e7461636172)
#define CARD_ORDER 0x01020304u

struct card {
    uint64_t magic;
    uint32_t byte_order, pointer_bytes;
    uint32_t library_version, wire_version;
    uint64_t functions; /* registry_digest */
    /* What is above never moves. */
    int32_t code;     /* why this rank cannot start; 0: it can */
    uint32_t workers; /* asked for; 0: by its share */
    uint64_t mask;    /* digest of the granted cores' list */
    uint32_t mask_cores;
    uint32_t pid;
    uint64_t pid_space; /* pids are comparable where these are equal */
    uint64_t machine;   /* equal: on one node, if the host's name is too; proven by the handover */
    uint32_t rank;
    uint16_t port, address_count; /* where the lowest rank listens for those on other hosts */
    uint8_t MT_ALIGNED(4) addresses[CARD_ADDRESSES][16]; /* IPv6, or version 4 mapped */
    uint64_t socket_name[2];
    uint8_t secret[32]; /* the lowest rank's counts */
    char host[MANTA_ERROR_HOST_MAX];
    char text[MANTA_ERROR_TEXT_MAX];
};
_Static_assert(sizeof(struct card) <= CARD_BYTES, "cards never grow");

/* As it travels. */
union card_page {
    struct card card;
    uint8_t bytes[CARD_BYTES];
};

/* topo may be NULL when code is not 0. */
void card_fill(struct card *card, const struct base_host *host, const struct topo *topo,
               uint32_t workers);

/*
 * Do these ranks make one job? The first that differs from rank 0, if any: MANTA_E_VERSION,
 * MANTA_E_LAUNCH or the code it gave, the reason in text. *ret_functions_differ is the lowest rank
 * that registered other tasks, 0 when none did.
 */
int cards_check(const union card_page *cards, uint32_t size, uint32_t *ret_functions_differ,
                char *text, size_t text_size);

/* The cards of the ranks on `rank`'s node, in their order; its own is the *ret_index-th of
 * *ret_size. Owned. NULL: memory is out. */
union card_page *cards_of_node(const union card_page *cards, uint32_t size, uint32_t rank,
                               uint32_t *ret_index, uint32_t *ret_size);
/* By rank: the lowest rank on its node. Owned. NULL: memory is out. */
uint32_t *cards_nodes(const union card_page *cards, uint32_t size);
bool card_is_near(const struct card *a, const struct card *b);

/* A rank's place among those of its node, whose cards these are. */
struct place {
    uint32_t index, sharers; /* among the ranks that hold the same cores */
    uint32_t cores;          /* of its share, at least 1 */
    uint32_t workers;
    bool is_crowded; /* more workers than cores on the node */
};
struct place cards_place(const union card_page *cards, uint32_t size, uint32_t rank);

#endif
