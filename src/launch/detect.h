/* Who started this process, as far as its environment tells. Pure. */
#ifndef LAUNCH_DETECT_H
#define LAUNCH_DETECT_H

#include "base/compiler.h"

#include <stdbool.h>

#define LAUNCHER_RANK_UNKNOWN UINT32_MAX

enum launcher_kind {
    LAUNCHER_NONE,
    LAUNCHER_OPEN_MPI, /* mpirun of Open MPI */
    LAUNCHER_PMI,      /* mpiexec of MPICH, Intel MPI and others */
    LAUNCHER_SLURM,    /* srun */
    LAUNCHER_PMIX,     /* anything else that speaks PMIx */
};

struct launcher {
    enum launcher_kind kind;
    uint32_t rank; /* LAUNCHER_RANK_UNKNOWN */
    uint32_t size; /* processes it started; 0: it does not say */
    bool has_pmix;
    bool has_pmi;
};

/* environment is a block like environ. */
struct launcher launcher_detect(const char *const *environment);

/* "mpirun", "srun" ... for messages. */
const char *launcher_name(const struct launcher *launcher);

/*
 * True when an MPI library of this kind can connect what the launcher started, as far as can be
 * known before MPI_Init. Otherwise the reason and the right command are in text.
 */
bool launcher_suits(const struct launcher *launcher, bool is_open_mpi, const char *library,
                    char *text, size_t size);

/* After MPI_Init: the world has `world` ranks. True when that is what the launcher started;
 * otherwise as above. */
bool launcher_agrees(const struct launcher *launcher, uint32_t world, const char *library,
                     char *text, size_t size);

#endif
