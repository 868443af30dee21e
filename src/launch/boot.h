/*
 * boot: how ranks that do not know each other yet exchange their cards.
 *
 * Two makers: alone, and MPI's (libmanta_mpi). One without MPI fits behind the same
 * four members.
 */
#ifndef LAUNCH_BOOT_H
#define LAUNCH_BOOT_H

#include "launch/detect.h"

#include <manta/error.h>

struct boot {
    uint32_t rank, size;
    /* Every rank gives `bytes` and gets those of all, by rank. Collective. MANTA_OK,
     * MANTA_E_TIMEOUT, MANTA_E_LAUNCH. */
    int (*allgather)(const void *mine, size_t bytes, void *all, uint64_t timeout_ns);
    /* Ends it. Collective. NULL: nothing to do. */
    void (*finish)(void);
};

enum boot_use { BOOT_USE_BRIEF, BOOT_USE_KEPT };

/* For a world of one. */
struct boot boot_alone(void);

/* Through libmanta_mpi. mpi_comm: the program's, by its address; NULL: all ranks. On failure the
 * reason is in text. */
int boot_open_mpi(const struct launcher *launcher, enum boot_use use, const void *mpi_comm,
                  struct boot *ret_boot, char *text, size_t text_size);

/* True when the program itself has initialized MPI in this process. */
bool boot_has_live_mpi(void);

#endif
