/*
 * What the two MPI drivers share: who has which column, buffers, and the list of messages of each
 * step, made before the clock starts. They are written as one writes a stencil code by hand.
 *
 * Columns are dealt out in blocks. A rank has, for each column that it computes or gets from
 * others, two buffers used in turn. An output goes once to each rank that has a consumer of it.
 */
#ifndef TASKBENCH_MPI_H
#define TASKBENCH_MPI_H

#include "core.h"

#include <mpi.h>

enum { TB_BUFFERS = 2 };

/* A column that crosses from or to a rank. */
struct message {
    uint32_t point;
    int rank;
};

/* Of a row: what comes in before it is computed, and what goes out after. */
struct exchange {
    uint32_t receive_count, send_count;
    struct message *receives, *sends;
};

struct part {
    const struct tb_graph *graph;
    struct tb_plan plan;
    struct exchange *exchanges;    /* [steps]; equal rows share their lists */
    uint8_t **buffers[TB_BUFFERS]; /* [width]; NULL: not of this rank */
    const void **inputs;           /* room for the pointers of one point */
    MPI_Request *receiving, *sending[TB_BUFFERS];
    int receiving_count, sending_count[TB_BUFFERS];
};

struct job {
    struct tb_app app;
    int rank, size;
    int failures;
    void (*pass)(struct job *job);
    struct part parts[TB_GRAPHS_MAX];
};

/* From main: reads options, runs `pass` twice, reports the second. The program's exit code. */
int mpi_run(int argc, char **argv, void (*pass)(struct job *job));

/* Starts what row `step` needs from others; starts sending what it made. NULL-safe beyond the last
 * step. */
void mpi_receive(const struct job *job, struct part *part, uint32_t step);
void mpi_send(const struct job *job, struct part *part, uint32_t step);
void mpi_wait_received(struct part *part);
/* That the buffers which row `step` will write have left. */
void mpi_wait_sent(struct part *part, uint32_t step);
/* Executes this rank's points of a row. */
void mpi_execute(struct job *job, struct part *part, uint32_t step);

#endif
