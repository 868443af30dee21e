#include "core/timeline.h"

#include "core/core.h"
#include "core/message.h"
#include "core/registry.h"
#include "core/scope.h"

static const char *const message_names[MESSAGE_KINDS] = {
    [MESSAGE_TASK] = "TASK",
    [MESSAGE_RESULT] = "RESULT",
    [MESSAGE_CREDIT] = "CREDIT",
    [MESSAGE_GONE] = "GONE",
    [MESSAGE_CANCEL] = "CANCEL",
    [MESSAGE_RELEASE] = "RELEASE",
    [MESSAGE_REQUEST] = "REQUEST",
    [MESSAGE_VALUE] = "VALUE",
    [MESSAGE_HOLD] = "HOLD",
    [MESSAGE_ANSWER] = "ANSWER",
    [MESSAGE_STOP] = "STOP",
    [MESSAGE_REGISTER] = "REGISTER",
    [MESSAGE_REGISTERED] = "REGISTERED",
    [MESSAGE_OFFER] = "OFFER",
    [MESSAGE_ADOPT] = "ADOPT",
    [MESSAGE_LOOKUP] = "LOOKUP",
    [MESSAGE_FOUND] = "FOUND",
    [MESSAGE_WANT] = "WANT",
    [MESSAGE_HERE] = "HERE",
    [MESSAGE_UNWANT] = "UNWANT",
    [MESSAGE_NOT_MINE] = "NOT_MINE",
    [MESSAGE_FETCH] = "FETCH",
    [MESSAGE_CHUNK] = "CHUNK",
    [MESSAGE_FREED] = "FREED",
    [MESSAGE_OPEN] = "OPEN",
    [MESSAGE_TERMS] = "TERMS",
    [MESSAGE_READ] = "READ",
    [MESSAGE_ITEMS] = "ITEMS",
    [MESSAGE_TAKEN] = "TAKEN",
    [MESSAGE_ENDED] = "ENDED",
    [MESSAGE_RESTORE] = "RESTORE",
    [MESSAGE_RESTORED] = "RESTORED",
    [MESSAGE_LEAVE] = "LEAVE",
    [MESSAGE_LEAVE_ANSWER] = "LEAVE_ANSWER",
    [MESSAGE_ROOM] = "ROOM",
    [MESSAGE_LOST] = "LOST",
    [MESSAGE_CLAIM] = "CLAIM",
    [MESSAGE_CLAIMED] = "CLAIMED",
    [MESSAGE_GRAPH_PART] = "GRAPH_PART",
    [MESSAGE_GRAPH_READY] = "GRAPH_READY",
    [MESSAGE_GRAPH_LAUNCH] = "GRAPH_LAUNCH",
    [MESSAGE_GRAPH_VALUE] = "GRAPH_VALUE",
    [MESSAGE_GRAPH_TOLD] = "GRAPH_TOLD",
    [MESSAGE_GRAPH_RESULT] = "GRAPH_RESULT",
    [MESSAGE_GRAPH_FAILED] = "GRAPH_FAILED",
    [MESSAGE_GRAPH_STOP] = "GRAPH_STOP",
    [MESSAGE_GRAPH_ENDED] = "GRAPH_ENDED",
    [MESSAGE_GRAPH_DROP] = "GRAPH_DROP",
    [MESSAGE_SETTLED] = "SETTLED",
    [MESSAGE_CLEARED] = "CLEARED",
    [MESSAGE_QUIET] = "QUIET",
    [MESSAGE_QUIET_ANSWER] = "QUIET_ANSWER",
    [MESSAGE_STOP_ALL] = "STOP_ALL",
};

struct base_timeline_name *core_timeline_names(uint32_t *ret_count)
{
    uint32_t functions = 0, count = 0;
    for (uint32_t at = 0; registry_next(&at);) {
        functions++;
    }
    struct base_timeline_name *names = base_alloc((functions + MESSAGE_KINDS) * sizeof *names);
    if (!names) {
        return NULL;
    }
    const manta_function *function;
    for (uint32_t at = 0; count < functions && (function = registry_next(&at));) {
        names[count++] = (struct base_timeline_name){
            .of = BASE_TIMELINE_FUNCTION, .key = function_hash(function), .name = function->name};
    }
    for (uint32_t i = 0; i < MESSAGE_KINDS; i++) {
        if (message_names[i]) {
            names[count++] = (struct base_timeline_name){
                .of = BASE_TIMELINE_MESSAGE, .key = i, .name = message_names[i]};
        }
    }
    *ret_count = count;
    return names;
}

void timeline_note_submit(struct context *context, const manta_function *function,
                          const manta_ref *ref)
{
    struct rank *rank = context->rank;
    uint32_t track = context->worker ? context->worker->number : rank->worker_count;
    base_timeline_add(&rank->tracks[track],
                      (struct base_timeline_record){.kind = BASE_TIMELINE_SUBMIT,
                                                    .parent = ref->parent,
                                                    .position = ref->position,
                                                    .peer = rank->number,
                                                    .value = function_hash(function)});
}

void timeline_note_run(struct base_timeline_track *track, enum base_timeline_kind kind,
                       const struct run *run, int extra)
{
    base_timeline_add(track,
                      (struct base_timeline_record){.kind = (uint8_t)kind,
                                                    .detail = run->attempt,
                                                    .extra = (int16_t)MT_MIN(extra, INT16_MAX),
                                                    .parent = run->parent,
                                                    .position = run->position,
                                                    .peer = run->owner,
                                                    .value = function_hash(run->function)});
}

void timeline_note_sent(struct rank *rank, uint32_t peer, unsigned kind, uint64_t parent,
                        uint32_t position, size_t bytes)
{
    base_timeline_add(&rank->tracks[rank->worker_count],
                      (struct base_timeline_record){.kind = BASE_TIMELINE_SENT,
                                                    .detail = (uint8_t)kind,
                                                    .parent = parent,
                                                    .position = position,
                                                    .peer = peer,
                                                    .value = (uint32_t)bytes});
}

void timeline_note_received(struct rank *rank, uint32_t peer, const struct wire_header *header)
{
    base_timeline_add(&rank->tracks[rank->worker_count],
                      (struct base_timeline_record){.kind = BASE_TIMELINE_RECEIVED,
                                                    .detail = header->kind,
                                                    .parent = header->parent,
                                                    .position = header->position,
                                                    .peer = peer,
                                                    .value = header->length});
}

void timeline_note_death(struct rank *rank, uint32_t dead)
{
    base_timeline_add(&rank->tracks[rank->worker_count],
                      (struct base_timeline_record){.kind = BASE_TIMELINE_DEATH, .peer = dead});
}
