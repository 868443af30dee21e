/*
 * The files of a job's timeline: which ranks there are, what things are called, and one clock.
 *
 * Each file is read twice, one after the other, so what is kept is a few words for each rank: here
 * to learn how long and how fast its counter ran, in trace_draw.c to draw it.
 *
 * Ranks of one machine have one monotonic clock. Another machine's is put beside rank 0's by the
 * questions and answers at the end of the job (QUIET), which go from rank 0 to every rank and back
 * at once: of those with a rank of that machine the one that took least time on its way gives the
 * difference, half of the rest of it being its error at most. A machine without any, because its
 * ranks died, goes by the calendar.
 */
#ifndef CLI_TRACE_RANKS_H
#define CLI_TRACE_RANKS_H

#include "base/map.h"
#include "base/timeline.h"

#define TRACE_ROUNDS 4 /* of QUIET that are looked at */

struct trace_rank {
    char *path;
    struct base_timeline_head head;
    uint64_t last_ticks, last_ns; /* of the latest block: the file's second point in time */
    int64_t offset_ns;            /* what is added to its clock */
    uint64_t skipped_bytes;
    bool is_complete; /* it was closed in order */
    /* ticks of the first rounds: QUIET received and answered here; for rank 0 see trace_set */
    uint64_t asked[TRACE_ROUNDS], answered[TRACE_ROUNDS];
    uint32_t asked_count, answered_count;
};

/* Rank 0's side of the rounds with one rank. */
struct trace_rounds {
    uint64_t asked[TRACE_ROUNDS], answered[TRACE_ROUNDS];
    uint32_t asked_count, answered_count;
};

struct trace_set {
    struct trace_rank *ranks; /* by number; those that are there */
    uint32_t count;
    uint32_t unread;             /* files that are no timelines, or damaged at their beginning */
    uint32_t size;               /* of the job */
    struct base_map names;       /* (naming, key) -> text, owned */
    struct trace_rounds *rounds; /* by rank */
    uint64_t origin_ns;          /* when the first rank's timeline begins */
};

/* What is wrong is in text. MANTA_E_NOTFOUND, MANTA_E_TYPE, MANTA_E_NOMEM. */
int trace_ranks_find(const char *directory, struct trace_set *ret_set, char *text,
                     size_t text_size);
void trace_ranks_fini(struct trace_set *set);

/* A stamp of this rank on the job's clock, from its origin on. */
uint64_t trace_time_ns(const struct trace_set *set, const struct trace_rank *rank, uint64_t ticks);

/* NULL: it has no name. */
const char *trace_name(const struct trace_set *set, enum base_timeline_naming of, uint32_t key);

#endif
