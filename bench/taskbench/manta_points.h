/*
 * A point of a graph as a Manta task, for the drivers that submit them.
 *
 * There is one task for each number of inputs, so that inputs are ordinary `in` arguments, which
 * Manta waits for before the body starts; they differ in their descriptors only, which are made
 * here rather than by MANTA_TASK. Points with more inputs than a task has parameters take an array
 * of refs and view them. An output of 16 bytes is a fixed result, any other one a variable
 * result, written in place. Values of up to MANTA_INLINE_MAX travel inside messages, all inputs of
 * a task in one; so that this has room for any number of inputs, outputs of more than 4 KiB are
 * made as long as it takes to lie in the node's store, and only their first bytes count.
 */
#ifndef TASKBENCH_MANTA_POINTS_H
#define TASKBENCH_MANTA_POINTS_H

#include "core.h"

#include <manta/manta.h>

enum { POINTS_IN_MAX = MANTA_PARAM_MAX - 2 };

/* An output of TB_PAIR_BYTES. */
struct point_pair {
    uint64_t words[TB_PAIR_BYTES / sizeof(uint64_t)];
};

/* What a point's task is told. With a period, `step` is that of round 0 of a recorded graph, and a
 * round is so many steps. */
struct point_job {
    uint32_t graph, step, point, input_count, period;
};

/* A program whose driver runs all: its main. */
struct points_program {
    int (*make)(const struct tb_graph *graph); /* ready to be run; tells on stderr why it is not */
    void (*free)(uint32_t graph);              /* whatever there is of it */
    int (*pass)(void *arg, double *ret_seconds);
};
int points_main(int argc, char **argv, struct tb_app *app, const struct points_program *program);

/* From main, on every rank, before manta_run; points_main does. `app` is borrowed until the end. */
void points_register(const struct tb_app *app);
/* Submits, or records, a point that has the refs `inputs` in the order of its inputs. */
manta_ref points_submit(const manta_options *options, const struct point_job *job,
                        const manta_ref *inputs);
/* The rank of a column: blocks. */
uint32_t points_rank(const struct tb_graph *graph, uint32_t point, uint32_t ranks);
/* Waits for all and tells the first error on stderr. */
int points_finish(const manta_ref *refs, uint32_t count);

#endif
