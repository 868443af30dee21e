/*
 * What core notes in the rank's timeline (base/timeline.h), if it has one.
 *
 * rank->tracks is NULL otherwise, and lies beside the baton, which whoever comes here has touched
 * or is about to: what a rank without a timeline pays is a compare and a branch at each of these.
 * With one, the rest is out of line. The worker's own track is written where its thread is for
 * certain: around the call of a body, without the baton, and where a stack is put aside. All else
 * goes to the last track, under the baton, whichever thread has it; a submission by a body goes to
 * its worker's, so that an arrow can begin in the body.
 */
#ifndef CORE_TIMELINE_H
#define CORE_TIMELINE_H

#include "base/timeline.h"
#include "core/rank.h"

MT_COLD void timeline_note_submit(struct context *context, const manta_function *function,
                                  const manta_ref *ref);
MT_COLD void timeline_note_run(struct base_timeline_track *track, enum base_timeline_kind kind,
                               const struct run *run, int extra);
MT_COLD void timeline_note_leaf(struct base_timeline_track *track, enum base_timeline_kind kind,
                                const struct run *run, int extra);
MT_COLD void timeline_note_sent(struct rank *rank, uint32_t peer, unsigned kind, uint64_t parent,
                                uint32_t position, size_t bytes);
void timeline_note_received(struct rank *rank, uint32_t peer, const struct wire_header *header);
MT_COLD void timeline_note_death(struct rank *rank, uint32_t dead);

static inline void timeline_submit(struct context *context, const manta_function *function,
                                   const manta_ref *ref)
{
    if (MT_UNLIKELY(context->rank->tracks != NULL)) {
        timeline_note_submit(context, function, ref);
    }
}

/* On the run's worker. BEGIN: extra is an enum base_timeline_body; END: its code. */
static inline void timeline_body(struct rank *rank, enum base_timeline_kind kind,
                                 const struct run *run, int extra)
{
    if (MT_UNLIKELY(rank->tracks != NULL)) {
        timeline_note_run(&rank->tracks[run->worker->number], kind, run, extra);
    }
}

/* The same for a node of a recorded graph, whose map_index is its round. */
static inline void timeline_leaf(struct rank *rank, enum base_timeline_kind kind,
                                 const struct run *run, int extra)
{
    if (MT_UNLIKELY(rank->tracks != NULL)) {
        timeline_note_leaf(&rank->tracks[run->worker->number], kind, run, extra);
    }
}

/* Of one in a process of its own. */
static inline void timeline_outside(struct rank *rank, enum base_timeline_kind kind,
                                    const struct run *run, int extra)
{
    if (MT_UNLIKELY(rank->tracks != NULL)) {
        timeline_note_run(&rank->tracks[rank->worker_count], kind, run, extra);
    }
}

MT_INLINE void timeline_sent(struct rank *rank, uint32_t peer, unsigned kind,
                             const struct wire_header *about, size_t bytes)
{
    if (MT_UNLIKELY(rank->tracks != NULL)) {
        timeline_note_sent(rank, peer, kind, about->parent, about->position, bytes);
    }
}

static inline void timeline_death(struct rank *rank, uint32_t dead)
{
    if (MT_UNLIKELY(rank->tracks != NULL)) {
        timeline_note_death(rank, dead);
    }
}

#endif
