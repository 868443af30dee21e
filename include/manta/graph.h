/*
 * Recorded graphs: the same tasks many times, without the cost of submitting them. C17 and C++17.
 *
 * A task that is called with MANTA_OPTIONS(.graph = g) is not run but recorded in g, with its
 * plain arguments copied; the refs it returns are edges of the graph, good as `in` and `inout`
 * arguments of further recorded tasks and for the calls below. So recording reads like the plain
 * program. Sealing checks the graph, places its nodes on ranks and gives each rank its part. A
 * launch then runs the whole as often as it is told: nodes send their values straight to the
 * nodes that need them, whoever is ready runs, and nothing goes through the rank that launched
 * but the inputs at the beginning and the outputs at the end.
 *
 *     #include <manta/graph.h>
 *
 *     manta_graph *graph;                                    // x = f(f(...f(x)...)), 1000 times
 *     MANTA_TRY(manta_graph_create(MANTA_BLOCKS, &graph));
 *     manta_ref x = manta_graph_input(graph, sizeof(double));
 *     manta_ref y = f_async(MANTA_OPTIONS(.graph = graph), x);
 *     manta_graph_feed(graph, y, x);                         // the next round's x is this one's y
 *     manta_graph_output(graph, y);
 *     MANTA_TRY(manta_graph_seal(graph));
 *     double value = 1;
 *     MANTA_TRY(manta_graph_set(graph, x, &value, sizeof value));
 *     manta_ref result;
 *     MANTA_TRY(manta_graph_launch(graph, 1000, &result));
 *     MANTA_TRY(manta_get(result, &value, sizeof value));
 *     manta_graph_destroy(graph);
 *
 * Recorded tasks are leaves: they compute, and may use manta_outv_alloc, manta_fail,
 * manta_cancelled and manta_world_get; calls that submit or wait are MANTA_E_STATE there. Their
 * parameters may be val, text, span, in, inout, out and outv. They may run again after the death of
 * a rank, and two rounds of one node may run at once unless an edge orders them.
 *
 * Context: the rank that made the graph, any thread of it, not inside a task. Calls on one graph
 * before it is sealed are not to be made at once by several threads. docs/graphs.md has more.
 */
#ifndef MANTA_GRAPH_H
#define MANTA_GRAPH_H

#include <manta/manta.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where nodes go that nothing else places. A node with .rank goes there; one with an `in` or
 * `inout` edge of another node goes where that one is; of the rest, in the order of recording: */
typedef enum manta_pattern {
    MANTA_BLOCKS, /* equal runs of neighbours to each rank */
    MANTA_CYCLIC  /* one to each rank in turn */
} manta_pattern;

/* Makes an empty graph. *ret_graph is owned. MANTA_E_NOMEM, MANTA_E_STATE (inside a task),
 * MANTA_E_INVALID. Never blocks. */
MANTA_API int manta_graph_create(manta_pattern pattern, manta_graph **ret_graph);

/* An edge whose value is set before a launch, of exactly `bytes` bytes; 0: of any size. All zero
 * when it cannot be, which manta_graph_seal reports. Never blocks. */
MANTA_API manta_ref manta_graph_input(manta_graph *graph, size_t bytes);

/* From the second round of a launch on `input` has the value that `from`, an edge of a task, had in
 * the round before. Mistakes are reported by manta_graph_seal. Never blocks. */
MANTA_API void manta_graph_feed(manta_graph *graph, manta_ref from, manta_ref input);

/* A launch gives the value that `edge`, of a task, has in the last round. Outputs are numbered in
 * the order of these calls. Mistakes are reported by manta_graph_seal. Never blocks. */
MANTA_API void manta_graph_output(manta_graph *graph, manta_ref edge);

/*
 * Ends recording: checks the graph and sends each rank its part. The first mistake made while
 * recording is returned here, manta_last_error naming the node ("node 3 (relax)") and the argument:
 * MANTA_E_INVALID for edges that are none of this graph (so a cycle cannot be), options or kinds
 * of parameters that cannot be recorded; MANTA_E_TYPE for values that do not fit what they are read
 * as; MANTA_E_TOOBIG; MANTA_E_NOMEM; MANTA_E_STATE when it is sealed. Never blocks for long.
 */
MANTA_API int manta_graph_seal(manta_graph *graph);

/* Bytes that a value in a graph may have. */
#define MANTA_GRAPH_VALUE_MAX (1u << 20)

/* The value of an input for the launches that follow, copied; it stays until it is set again.
 * MANTA_E_TYPE when it has not the size of the input; MANTA_E_INVALID when `input` is none;
 * MANTA_E_TOOBIG above MANTA_GRAPH_VALUE_MAX; MANTA_E_NOMEM. Never blocks. */
MANTA_API int manta_graph_set(manta_graph *graph, manta_ref input, const void *data, size_t bytes);

/*
 * Runs the graph `rounds` times (1 to 2^32 - 2), each as soon as its edges allow, several at once
 * where they do. ret_refs gets one ref per output, or one for completion when there is none; they
 * are held by the caller's scope like any other. Launches of a graph run one after the other in the
 * order of these calls, with the inputs that were set at each. If a task fails, or a rank dies for
 * the fourth time in one launch, its refs carry the error, which names the node; manta_cancel of
 * one of them stops the launch. MANTA_E_STATE before manta_graph_seal; MANTA_E_INVALID for an input
 * that was never set; MANTA_E_NOMEM. Never blocks.
 */
MANTA_API int manta_graph_launch(manta_graph *graph, uint64_t rounds, manta_ref *ret_refs);

/* Frees a graph when what was launched has ended; refs of its outputs stay. Never blocks. Accepts
 * NULL. */
MANTA_API void manta_graph_destroy(manta_graph *graph);

#ifdef __cplusplus
}
#endif
#endif
