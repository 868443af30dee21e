/*
 * The way to ranks on other hosts: this rank's end over UCX, from libmanta_ucx, and the addresses
 * of all the others, exchanged over the bootstrap before that is given up.
 */
#ifndef LAUNCH_FAR_H
#define LAUNCH_FAR_H

#include "base/log.h"
#include "launch/boot.h"
#include "launch/card.h"

struct comm;
struct far;

struct far_options {
    const struct base_host *host;
    const struct boot *boot;
    const union card_page *cards; /* of all; borrowed until the far is closed */
    uint64_t timeout_ns;
    bool expects_rdma; /* TCP is warned about also where no RDMA device is seen */
};

/* Collective, also where it fails: then on all ranks, with one reason. */
int far_open(const struct far_options *options, struct far **ret_far, char *text, size_t text_size);

/*
 * The end of all: over rings to the ranks of the node, over UCX to the others. `near` is consumed;
 * node_cards are those of the node. The far must outlive the comm.
 */
int far_join(struct far *far, struct comm *near, const union card_page *node_cards,
             uint32_t node_size, struct comm **ret_comm);

/* Both as long as the end lives, from any thread, one at a time. False: there is none (any
 * more). */
bool far_take_warning(struct far *far, char *text, size_t text_size);
/* A line for each other host and way: by which transport and device this rank reaches it. */
void far_report(const struct far *far, const struct base_log *log);

/* Drops the end too where it was not joined. Accepts NULL. */
void far_close(struct far *far);

#endif
