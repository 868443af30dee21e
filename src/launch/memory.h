/*
 * The node's memory: comm's segment and, behind it, the store, in one memfd, and the files that
 * values are spilled to.
 *
 * The lowest rank of the node makes them, with its own MANTA_STORE and MANTA_SPILL, and hands them
 * to the others. Nothing of the store is there before somebody stores something.
 *
 * MANTA_SPILL is a directory, or `off`. What is named there is used, with a warning if it is memory
 * or over a network, or the start fails. Unnamed it is the first of SLURM_TMPDIR, TMPDIR, /tmp and
 * /var/tmp that is a local disk; if none is, nothing is spilled.
 */
#ifndef LAUNCH_MEMORY_H
#define LAUNCH_MEMORY_H

#include "base/log.h"
#include "launch/handover.h"
#include "launch/settings.h"
#include "store/disk.h"
#include "store/store.h"
#include "topo/topo.h"

/* The segment, then the files. On failure the reason is in text. */
int memory_create(const struct settings *settings, const struct topo *topo, uint32_t node_ranks,
                  const struct base_log *log, struct handover_fds *ret_fds, char *text,
                  size_t text_size) MT_CHECKED;
/* The files become the disk's, NULL if there are none; the segment stays the caller's. */
int memory_open_store(struct handover_fds *fds, uint32_t index, uint32_t node_ranks,
                      struct disk **ret_disk, struct store **ret_store, char *text,
                      size_t text_size) MT_CHECKED;

#endif
