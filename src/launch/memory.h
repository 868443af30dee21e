/*
 * The node's memory: comm's segment and, behind it, the store, in one memfd.
 *
 * The lowest rank of the node makes it, with its own MANTA_STORE, and hands it to the
 * others. Nothing of the store is there before somebody stores something.
 */
#ifndef LAUNCH_MEMORY_H
#define LAUNCH_MEMORY_H

#include "launch/settings.h"
#include "store/store.h"
#include "topo/topo.h"

/* On failure the reason is in text. */
int memory_create(const struct settings *settings, const struct topo *topo, uint32_t node_ranks,
                  int *ret_fd, char *text, size_t text_size) MT_CHECKED;
int memory_open_store(int fd, uint32_t index, uint32_t node_ranks, struct store **ret_store,
                      char *text, size_t text_size) MT_CHECKED;

#endif
