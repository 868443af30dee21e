/*
 * The environment of the spawner, and so of all commands.
 *
 * A launcher tells a rank its place in variables. A command that is an MPI program itself
 * would take them for its own: it would try to join the job, or hang. So they go; what a user
 * sets for Open MPI (OMPI_MCA_btl, ...) stays, and so does what names the allocation
 * (SLURM_JOB_ID, ...), for a command that calls srun or mpirun itself.
 */
#include "spawn/environment.h"

#include "base/alloc.h"

#include <string.h>

static const char *const launchers[] = {"OMPI_COMM_",
                                        "OMPI_APP_CTX_",
                                        "OMPI_FIRST_",
                                        "OMPI_FILE_",
                                        "OMPI_ARGV",
                                        "OMPI_COMMAND",
                                        "OMPI_NUM_APP",
                                        "OMPI_UNIVERSE_",
                                        "OMPI_MCA_ess",
                                        "OMPI_MCA_orte_",
                                        "OMPI_MCA_pmix",
                                        "OMPI_MCA_prte_",
                                        "OMPI_MCA_initial_",
                                        "OMPI_MCA_shmem_RUNTIME",
                                        "ORTE_",
                                        "PRTE_",
                                        "PMIX_",
                                        "PMI_",
                                        "HYDI_",
                                        "HYDRA_",
                                        "MPI_LOCALNRANKS",
                                        "MPI_LOCALRANKID",
                                        "SLURM_STEP",
                                        "SLURM_PROCID=",
                                        "SLURM_LOCALID=",
                                        "SLURM_NODEID=",
                                        "SLURM_TASK_PID=",
                                        "SLURM_GTIDS=",
                                        "SLURM_PMI",
                                        "MANTA_RUN=",
                                        "MANTA_TIMELINE=", /* of this job */
                                        "MANTA_SPAWNER="};

bool environment_is_launchers(const char *variable)
{
    for (size_t i = 0; i < MT_COUNT(launchers); i++) {
        if (strncmp(variable, launchers[i], strlen(launchers[i])) == 0) {
            return true;
        }
    }
    return false;
}

char **environment_clean(const char *const *environment, const char *added)
{
    size_t count = 2, bytes = strlen(added) + 1;
    for (const char *const *variable = environment; *variable; variable++) {
        count++;
        bytes += strlen(*variable) + 1;
    }
    char **clean = base_alloc(count * sizeof *clean + bytes), **next = clean;
    if (!clean) {
        return NULL;
    }
    char *at = (char *)(clean + count);
    for (const char *const *variable = environment; *variable; variable++) {
        if (!environment_is_launchers(*variable)) {
            *next++ = at;
            at = stpcpy(at, *variable) + 1;
        }
    }
    *next = at;
    strcpy(at, added);
    return clean;
}
