/*
 * The share of a dead rank.
 *
 * Its blocks stay where they are, readable by all ranks of the node. The heir serves them to
 * other nodes and frees them: the lowest living rank of the node, which every rank computes for
 * itself (heirs_server). When it dies too the next one walks the share again. With the node's last
 * rank the blocks are gone.
 *
 * The maker freed its blocks because its values ended, or on the owner's word (RELEASE). Nobody is
 * left who knows that, so from the death on whoever has such a place says so: a rank
 * *claims* it with the heir (CLAIM) as long as a value, or the arguments of a run, name it here,
 * and the heir keeps the set of ranks by block. As with refs (object.c), the claim of an owner
 * protects the places that it hands on; only when it dies does that of the receiver count. So
 * claims need no answer, but in the settling of a death: a rank tells that it has settled
 * only when its claims have reached the heirs (a mark, and CLAIMED), and a heir forgets a dead
 * rank's claims, and frees what nobody claims, when all the deaths that it knows of are cleared.
 *
 * An owner's death leaves places without protection too, whose makers live: what of an
 * orphan nobody adopts. So borrows of a dead owner, and the arguments of a dead owner's runs, are
 * claimed like those, and a maker frees nothing that is claimed, nor while a death is not cleared.
 *
 * A rank that counts as dead may live for a moment longer. The store keeps its hands off the share
 * then (store.h).
 */
#ifndef CORE_HEIRS_H
#define CORE_HEIRS_H

#include "core/rank.h"

/* Who has the bytes of a share now; UINT32_MAX: its node is dead. */
uint32_t heirs_server(const struct rank *rank, uint32_t share);
/* When a rank died, since this one's start. */
uint64_t heirs_died_ns(const struct rank *rank, uint32_t dead);

/* A value names a place: claims it if that is in a dead rank's share. */
void heirs_claim(struct rank *rank, struct output *output);
void heirs_end_claim(struct rank *rank, struct output *output);
/* A place as such, in any share: as often as it is named here. False: memory is out. */
bool heirs_claim_place(struct rank *rank, uint32_t share, uint64_t place);
void heirs_end_claim_place(struct rank *rank, uint32_t share, uint64_t place);
/* The same for the arguments of a run. */
void heirs_claim_run(struct rank *rank, struct run *run);
void heirs_end_run(struct rank *rank, struct run *run);

/* A block of the own share that its value gives back: when nobody claims it. */
void heirs_free(struct rank *rank, const struct location *of);
/* Another rank's share, on this node, that may fall to this rank, and has not yet: who asks for one
 * of its blocks may know of a death that this rank has not heard of. */
bool heirs_may_inherit(const struct rank *rank, uint32_t share);

/* Claims what lay in its share, inherits what falls to this rank. Before recover_settle. */
void heirs_peer_down(struct rank *rank, uint32_t dead);
/* All have settled a death; rank 0 had heard of so many then. */
void heirs_cleared(struct rank *rank, uint32_t dead, uint32_t deaths);
/* Blocks are left that were inherited. */
bool heirs_are_busy(const struct rank *rank);
void heirs_fini(struct rank *rank);

#endif
