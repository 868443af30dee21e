/*
 * The stencil of bench_graph by hand in MPI: a column on each rank, receives posted a step ahead,
 * one message to each neighbour. Rank 0 prints the nanoseconds of a step, point by point.
 *
 *     mpirun -n 2 bench_graph_mpi [POINTS]
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 20000 };

struct column {
    int left, right, sides; /* with two ranks both neighbours are one */
    uint64_t own, beside[2][2];
    MPI_Request receives[2][2];
};

static void receive(struct column *column, int step)
{
    const int from[2] = {column->left, column->right};
    for (int i = 0; i < column->sides; i++) {
        MPI_Irecv(&column->beside[step % 2][i], 1, MPI_UINT64_T, from[i], step % 2, MPI_COMM_WORLD,
                  &column->receives[step % 2][i]);
    }
}

/* The values that step `step` reads have come; those of the next one are asked for already. */
static void take_step(struct column *column, int step)
{
    const int to[2] = {column->right, column->left};
    uint64_t sent = column->own;
    MPI_Request sends[2];
    for (int i = 0; i < column->sides; i++) {
        MPI_Isend(&sent, 1, MPI_UINT64_T, to[i], step % 2, MPI_COMM_WORLD, &sends[i]);
    }
    receive(column, step + 1);
    MPI_Waitall(column->sides, column->receives[step % 2], MPI_STATUSES_IGNORE);
    const uint64_t *beside = column->beside[step % 2];
    column->own = beside[0] + sent + beside[column->sides - 1];
    MPI_Waitall(column->sides, sends, MPI_STATUSES_IGNORE);
}

/* From ones everywhere each step makes three times as much, if every value came. */
static double measure(struct column *column)
{
    column->own = 1;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    receive(column, 0);
    for (int step = 0; step < STEPS; step++) {
        take_step(column, step);
    }
    double ns = (MPI_Wtime() - start) * 1e9 / STEPS;
    for (int i = 0; i < column->sides; i++) {
        MPI_Cancel(&column->receives[STEPS % 2][i]);
    }
    MPI_Waitall(column->sides, column->receives[STEPS % 2], MPI_STATUSES_IGNORE);
    return ns;
}

int main(int argc, char **argv)
{
    int rank, size, points = argc > 1 ? atoi(argv[1]) : 5;
    uint64_t wanted = 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    struct column column = {
        .left = (rank + size - 1) % size, .right = (rank + 1) % size, .sides = size > 2 ? 2 : 1};
    for (int step = 0; step < STEPS; step++) {
        wanted *= 3;
    }
    for (int i = 0; i < points; i++) {
        double ns = measure(&column);
        if (column.own != wanted) {
            fprintf(stderr, "graph_mpi: rank %d has %llu\n", rank, (unsigned long long)column.own);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
        if (rank == 0) {
            printf("%.1f\n", ns);
        }
    }
    MPI_Finalize();
    return 0;
}
