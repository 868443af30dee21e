/*
 * What libmanta_mpi gives: MPI as a bootstrap, without a type of mpi.h in sight. The
 * library is loaded when a launcher is detected; only it is built anew for another MPI.
 */
#ifndef LAUNCH_MPI_PLUGIN_H
#define LAUNCH_MPI_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define MPI_PLUGIN_VERSION 2
#define MPI_PLUGIN_SYMBOL "manta_mpi_plugin"

enum mpi_use {
    MPI_USE_BRIEF, /* for the bootstrap only; single-threaded, finalized by finish */
    MPI_USE_KEPT,  /* the program goes on with it: MPI_THREAD_MULTIPLE */
};

struct mpi_plugin {
    uint32_t version; /* MPI_PLUGIN_VERSION */
    uint32_t is_open_mpi;
    const char *library; /* "Open MPI 4.1.4" */
    /* Uses MPI as the program has initialized it, or initializes it; among the processes of the
     * MPI_Comm at `given`, NULL: of MPI_COMM_WORLD. Codes as in manta/error.h, the reason in text.
     */
    int (*start)(enum mpi_use use, const void *given, uint32_t *ret_rank, uint32_t *ret_size,
                 char *text, size_t text_size);
    /* Blocks at most timeout_ns. MANTA_OK, MANTA_E_TIMEOUT, MANTA_E_LAUNCH. */
    int (*allgather)(const void *mine, size_t bytes, void *all, uint64_t timeout_ns);
    /* Frees what start made; finalizes MPI if start initialized it. Collective. */
    void (*finish)(void);
};

#endif
