/*
 * Launchers, by the variables that they leave in the environment.
 *
 * The most specific one wins: mpirun and mpiexec inside a Slurm allocation start their
 * daemons through srun, so their ranks see Slurm's variables too. A Slurm allocation
 * without a step (the shell of salloc, the batch script) is no launcher: only srun sets
 * a step's variables.
 *
 * A launcher that speaks another protocol than the MPI library is the classic wrong
 * launch: each process becomes a world of one, and N copies of the program run. Most of
 * it is visible before MPI_Init, which can hang or abort then; the rest is found by
 * comparing the size of the world with what the launcher says it started.
 */
#include "launch/detect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *find(const char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') {
            return *environment + length + 1;
        }
    }
    return NULL;
}

static uint32_t number(const char *const *environment, const char *name, uint32_t otherwise)
{
    const char *text = find(environment, name);
    char *end;
    if (!text || *text < '0' || *text > '9') {
        return otherwise;
    }
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    return errno || *end || value >= UINT32_MAX ? otherwise : (uint32_t)value;
}

static uint32_t slurm_size(const char *const *environment)
{
    bool is_step = find(environment, "SLURM_STEP_ID") || find(environment, "SLURM_STEPID");
    if (!is_step || !find(environment, "SLURM_PROCID")) {
        return 0;
    }
    return number(environment, "SLURM_STEP_NUM_TASKS", number(environment, "SLURM_NTASKS", 0));
}

static bool take(struct launcher *launcher, enum launcher_kind kind, uint32_t size, uint32_t rank)
{
    if (size) {
        launcher->kind = kind;
        launcher->size = size;
        launcher->rank = rank;
    }
    return size != 0;
}

struct launcher launcher_detect(const char *const *environment)
{
    struct launcher launcher = {.rank = LAUNCHER_RANK_UNKNOWN};
    uint32_t pmix_rank = number(environment, "PMIX_RANK", LAUNCHER_RANK_UNKNOWN);
    launcher.has_pmix = pmix_rank != LAUNCHER_RANK_UNKNOWN;
    launcher.has_pmi = find(environment, "PMI_RANK") != NULL;
    if (take(&launcher, LAUNCHER_OPEN_MPI, number(environment, "OMPI_COMM_WORLD_SIZE", 0),
             number(environment, "OMPI_COMM_WORLD_RANK", LAUNCHER_RANK_UNKNOWN)) ||
        take(&launcher, LAUNCHER_PMI, number(environment, "PMI_SIZE", 0),
             number(environment, "PMI_RANK", LAUNCHER_RANK_UNKNOWN)) ||
        take(&launcher, LAUNCHER_SLURM, slurm_size(environment),
             number(environment, "SLURM_PROCID", LAUNCHER_RANK_UNKNOWN))) {
        return launcher;
    }
    if (launcher.has_pmix) {
        launcher.kind = LAUNCHER_PMIX;
        launcher.rank = pmix_rank;
    }
    return launcher;
}

const char *launcher_name(const struct launcher *launcher)
{
    static const char *const names[] = {
        [LAUNCHER_NONE] = "no launcher",     [LAUNCHER_OPEN_MPI] = "mpirun of Open MPI",
        [LAUNCHER_PMI] = "mpiexec (PMI)",    [LAUNCHER_SLURM] = "srun",
        [LAUNCHER_PMIX] = "a PMIx launcher",
    };
    return names[launcher->kind];
}

static void explain_open_mpi(const struct launcher *launcher, const char *library, char *text,
                             size_t size)
{
    if (launcher->kind == LAUNCHER_SLURM) {
        snprintf(text, size,
                 "srun started %u tasks without PMIx, which %s needs; run: srun --mpi=pmix -n %u "
                 "PROGRAM (if srun "
                 "--mpi=list has it) or mpirun -n %u PROGRAM",
                 launcher->size, library, launcher->size, launcher->size);
    } else {
        snprintf(text, size,
                 "an mpiexec of another MPI (MPICH, Intel MPI) started %u processes, but "
                 "libmanta_mpi is built with "
                 "%s; run: mpirun -n %u PROGRAM with that one's mpirun",
                 launcher->size, library, launcher->size);
    }
}

bool launcher_suits(const struct launcher *launcher, bool is_open_mpi, const char *library,
                    char *text, size_t size)
{
    if (is_open_mpi && launcher->kind != LAUNCHER_OPEN_MPI && launcher->kind != LAUNCHER_NONE &&
        !launcher->has_pmix) {
        explain_open_mpi(launcher, library, text, size);
        return false;
    }
    if (!is_open_mpi && launcher->kind == LAUNCHER_OPEN_MPI && !launcher->has_pmi) {
        snprintf(text, size,
                 "mpirun of Open MPI started %u processes, but libmanta_mpi is built with %s; run: "
                 "mpiexec -n %u "
                 "PROGRAM with that one's mpiexec",
                 launcher->size, library, launcher->size);
        return false;
    }
    return true;
}

bool launcher_agrees(const struct launcher *launcher, uint32_t world, const char *library,
                     char *text, size_t size)
{
    if (launcher->size == 0 || launcher->size == world) {
        return true;
    }
    if (launcher->kind == LAUNCHER_SLURM) {
        snprintf(text, size,
                 "srun started %u tasks, but %s sees a world of %u; run: srun --mpi=pmix -n %u "
                 "PROGRAM (srun --mpi=list "
                 "shows what there is)",
                 launcher->size, library, world, launcher->size);
    } else {
        snprintf(text, size,
                 "%s started %u processes, but %s sees a world of %u; run: mpirun -n %u PROGRAM "
                 "with that one's "
                 "mpirun",
                 launcher_name(launcher), launcher->size, library, world, launcher->size);
    }
    return false;
}
