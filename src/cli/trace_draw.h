/*
 * Drawing: records become the events of Chrome's trace format, which Perfetto's viewer reads.
 *
 * A rank is a process, a worker a thread of it, and one more thread is the driver and what else
 * submits. A body is a slice; one that waited on a stack put aside is as many as it had pieces,
 * with a number. An arrow goes from a submission to the body's first slice. What runs in a process
 * of its own is an asynchronous slice. A death is an instant; a message is one too, if messages are
 * asked for. Nodes of recorded graphs are slices without an arrow. Of each worker only the bodies
 * open now are in memory, and of a rank those put aside.
 *
 * A timeline may have gaps. At one, and at the end, what is open is closed, and marked; an end
 * without a beginning is counted and left out.
 */
#ifndef CLI_TRACE_DRAW_H
#define CLI_TRACE_DRAW_H

#include "cli/trace_ranks.h"

#include <stdio.h>

struct trace_options {
    bool has_messages, has_arrows;
};

struct trace_counts {
    uint64_t kinds[BASE_TIMELINE_KINDS];
    uint64_t lost;   /* records, by GAPs */
    uint64_t open;   /* bodies whose end is not there */
    uint64_t strays; /* ends, parks or resumes whose beginning is not there */
};

/* Writes the whole file; counts are summed over the ranks. MANTA_E_SYSTEM: it cannot be written. */
int trace_draw(const struct trace_set *set, const struct trace_options *options, FILE *out,
               struct trace_counts *ret_counts);

#endif
