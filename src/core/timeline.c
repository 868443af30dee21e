#include "core/timeline.h"

#include "core/core.h"
#include "core/message.h"
#include "core/registry.h"
#include "core/scope.h"

#define NAME(kind, handler) [MESSAGE_##kind] = #kind,
static const char *const message_names[MESSAGE_KINDS] = {MESSAGE_EACH(NAME)};

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

static struct base_timeline_record record_of(enum base_timeline_kind kind, const struct run *run,
                                             int extra)
{
    return (struct base_timeline_record){.kind = (uint8_t)kind,
                                         .extra = (int16_t)MT_MIN(extra, INT16_MAX),
                                         .parent = run->parent,
                                         .position = run->position,
                                         .value = function_hash(run->function)};
}

void timeline_note_run(struct base_timeline_track *track, enum base_timeline_kind kind,
                       const struct run *run, int extra)
{
    struct base_timeline_record record = record_of(kind, run, extra);
    record.detail = run->attempt;
    record.peer = run->owner;
    base_timeline_add(track, record);
}

void timeline_note_leaf(struct base_timeline_track *track, enum base_timeline_kind kind,
                        const struct run *run, int extra)
{
    struct base_timeline_record record = record_of(kind, run, extra);
    record.peer = (uint32_t)run->map_index;
    base_timeline_add(track, record);
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
