/*
 * What is left of a job when one of its ranks is killed: survivors MODE VICTIM SECONDS FOLDER.
 *
 * The victim kills itself with SIGKILL; the others then wait SECONDS, in which a launcher that ends
 * jobs ends this one, write a line to FOLDER/RANK, and go on to their end. MODE is `keep`: MPI is
 * there all the time and finalized at the end; or `release`: MPI is finalized before anything
 * happens, as manta_run does it. Nobody calls MPI after the death but to finalize: with a dead rank
 * among them, the others may use it no more.
 */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VICTIM_LIVES_US 300000
#define FINALIZE_SECONDS 5

static int note(const char *folder, int rank, const char *what)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", folder, rank);
    FILE *file = fopen(path, "a");
    if (!file)
        return 1;
    fprintf(file, "%s\n", what);
    return fclose(file);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int rank, keep = strcmp(argv[1], "keep") == 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Barrier(MPI_COMM_WORLD);
    if (!keep)
        MPI_Finalize();
    if (note(argv[4], rank, "started"))
        return 3;
    if (rank == atoi(argv[2])) {
        usleep(VICTIM_LIVES_US);
        raise(SIGKILL);
    }
    sleep((unsigned)atoi(argv[3]));
    note(argv[4], rank, "survived");
    if (keep) {
        /* It may wait for the dead rank for ever. */
        alarm(FINALIZE_SECONDS);
        MPI_Finalize();
        note(argv[4], rank, "finalized");
    }
    return 0;
}
