/*
 * For people who wonder where their memory is: what a ref names, who holds it and where its bytes
 * are; what the node's store holds; numbers. All of it is what this rank knows, without a message:
 * of a ref that another rank owns, that one knows who else holds it.
 */
#include "core/context.h"
#include "core/map.h"
#include "core/node.h"
#include "core/object.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/replica.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/value.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- Text ----------------------------------------------------------------------------------- */

struct text {
    char *at;
    size_t left;
};

MT_PRINTF(2, 3) static void say(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text->at, text->left, format, args);
    va_end(args);
    size_t used = length < 0 ? 0 : MT_MIN((size_t)length, text->left - (text->left > 0));
    text->at += used;
    text->left -= used;
}

static void say_task(struct text *text, const struct task *task, uint32_t output)
{
    manta_error about = {0};
    task_describe(task, &about);
    say(text, "output %u of %s (%s:%d), attempt %u", output, about.task, about.file, about.line,
        about.attempt);
}

static const char *state_text(const struct task *task)
{
    static const char *const texts[] = {
        [TASK_WAITING] = "waits for its arguments",
        [TASK_PENDING] = "waits for a place to run",
        [TASK_SENT] = "runs, or is about to",
        [TASK_DONE] = "is done",
    };
    return texts[task->state];
}

/* ---- One ref -------------------------------------------------------------------------------- */

static void say_place(struct rank *rank, struct text *text, const struct location *of)
{
    uint32_t index = comm_node_index(rank->comm, of->rank);
    struct store_place at = {index, of->offset};
    if (index == COMM_ELSEWHERE) {
        say(text, "; %llu bytes in the share of rank %u, on another node",
            (unsigned long long)of->bytes, of->rank);
        return;
    }
    bool is_away = store_get_state(rank->options.store, at) == STORE_SPILLED;
    say(text, "; %llu bytes in the share of rank %u, %s%s", (unsigned long long)of->bytes, of->rank,
        is_away ? "on disk" : "in memory", pin_is_held(rank, of) ? ", read here now" : "");
}

static void say_value(struct rank *rank, struct text *text, const struct target *target)
{
    const struct value *value = target->object->value;
    if (!target_is_done(target)) {
        return;
    }
    if (target_code(target) != MANTA_OK) {
        say(text, "; it failed: %s", manta_error_name(target_code(target)));
    } else if (target->element < 0 && value && value->output[target->output].is_stored) {
        const struct output *output = &value->output[target->output];
        say_place(rank, text, &output->place);
        say(text, "%s", output->copy ? "; a copy is on this node" : "");
    } else {
        say(text, "; %llu bytes", (unsigned long long)target_content(target).bytes);
    }
}

static void say_holders(struct text *text, const struct task *task, uint32_t position)
{
    say(text, "; held here %d times", task->object.holds);
    for (const struct remote_holder *holder = task->extra ? task->extra->holders : NULL; holder;
         holder = holder->next) {
        if (holder->position == position && holder->added > holder->dropped) {
            say(text, ", by rank %u", holder->rank);
        }
    }
}

static void explain(struct rank *rank, manta_ref ref, const struct target *target,
                    struct text *text)
{
    if (target->object->kind == OBJECT_BORROW) {
        say(text,
            "a ref of rank %u, which knows who made it and who else holds it; %s; held here %d "
            "times",
            object_borrow(target->object)->ref.owner,
            target_is_done(target) ? "its value has been asked for" : "not ready, or not asked for",
            target->object->holds);
    } else {
        const struct task *task = object_task(target->object);
        say_task(text, task, target->output);
        if (target->element >= 0) {
            say(text, ", element %lld of %llu", (long long)target->element,
                (unsigned long long)task->map->count);
        }
        say(text, "; owned by this rank (%u); %s", rank->number, state_text(task));
        if (task->state == TASK_SENT && !(task->flags & TASK_IS_MAP)) {
            say(text, " on rank %u", task->exec_rank);
        }
        say_holders(text, task, ref.position);
    }
    say_value(rank, text, target);
}

int manta_explain(manta_ref ref, char *ret_text, size_t size)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_text || !size) {
        return context_fail(context, MANTA_E_INVALID, "%s",
                            ret_text ? "size is 0" : "ret_text is NULL");
    }
    struct rank *rank = context->rank;
    struct text text = {ret_text, size};
    ret_text[0] = '\0';
    baton_take(&rank->baton, rank->host);
    struct target target = scope_target(rank, context_scope(context), ref);
    int code = target.object ? MANTA_OK : context_not_held(context, ref);
    if (target.object) {
        explain(rank, ref, &target, &text);
    }
    baton_give(&rank->baton);
    return code;
}

/* ---- The rank ------------------------------------------------------------------------------- */

/* The caller's rank, with its baton, for one who wants to know something at `place`. */
static int begin_look(const void *place, const char *name, struct rank **ret_rank)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!place) {
        return context_fail(context, MANTA_E_INVALID, "%s is NULL", name);
    }
    baton_take(&context->rank->baton, context->rank->host);
    *ret_rank = context->rank;
    return MANTA_OK;
}

int manta_stats_get(manta_stats *ret_stats)
{
    struct rank *rank = NULL;
    MANTA_TRY(begin_look(ret_stats, "ret_stats", &rank));
    const struct core_stats *stats = &rank->stats;
    const struct comm_stats comm = comm_get_stats(rank->comm);
    *ret_stats = (manta_stats){.submitted = stats->submitted,
                               .completed = stats->completed,
                               .executed = stats->executed,
                               .inlined = stats->inlined,
                               .parked = stats->parked,
                               .retried = stats->retried,
                               .adopted = stats->adopted,
                               .messages_sent = comm.messages_sent,
                               .messages_received = comm.messages_received,
                               .bytes_sent = comm.bytes_sent,
                               .bytes_received = comm.bytes_received,
                               .overflowed = comm.overflowed,
                               .bells = comm.bells_rung,
                               .sleeps = comm.sleeps,
                               .turns = atomic_load_explicit(&rank->turns, memory_order_relaxed),
                               .unfinished = rank->unfinished,
                               .pending = rank->pending_count + rank->pinned_count,
                               .ready = rank->ready_count,
                               .parked_now = rank->parked_count,
                               .records = rank->tasks.live};
    baton_give(&rank->baton);
    return MANTA_OK;
}

/* ---- The store ------------------------------------------------------------------------------ */

int manta_store_stats(manta_store_info *ret_info)
{
    struct rank *rank = NULL;
    MANTA_TRY(begin_look(ret_info, "ret_info", &rank));
    const struct core_stats *stats = &rank->stats;
    struct store_stats store = {0};
    if (rank->options.store) {
        store = store_get_stats(rank->options.store);
    }
    *ret_info = (manta_store_info){.bound_bytes = store.bound_bytes,
                                   .held_bytes = store.held_bytes,
                                   .own_bytes = store.used_bytes,
                                   .own_values = store.blocks,
                                   .pinned_bytes = rank->pinned_bytes,
                                   .spilled_bytes = stats->spilled_bytes,
                                   .restored_bytes = stats->restored_bytes,
                                   .waits = stats->room_waits,
                                   .copied = stats->copied,
                                   .evicted = stats->evicted};
    baton_give(&rank->baton);
    return MANTA_OK;
}

/* Blocks of the node, taken down with the baton held, told about without it. */
struct listing {
    struct rank *rank;
    manta_object *objects; /* NULL: they are only counted */
    uint64_t count, room;
};

static uint32_t owner_of(struct rank *rank, manta_ref ref)
{
    struct target target = target_find(rank, ref);
    return !target.object                         ? UINT32_MAX
           : target.object->kind == OBJECT_BORROW ? object_borrow(target.object)->ref.owner
                                                  : rank->number;
}

static void list(void *arg, const struct store_entry *entry)
{
    struct listing *listing = arg;
    struct rank *rank = listing->rank;
    if (!listing->objects || listing->count >= listing->room) {
        listing->count += !listing->objects;
        return;
    }
    const manta_function *function = registry_find(entry->tag.function);
    uint32_t share = node_rank_at(rank, entry->index);
    struct location of = {entry->tag.parent, entry->tag.position, share, entry->place,
                          entry->bytes};
    bool is_copy = entry->tag.function == REPLICA_TAG;
    listing->objects[listing->count++] = (manta_object){
        .parent = entry->tag.parent,
        .position = entry->tag.position,
        .rank = share,
        .owner = owner_of(rank, (manta_ref){entry->tag.parent, entry->tag.position, rank->number}),
        .where = !entry->is_sealed   ? MANTA_BEING_WRITTEN
                 : entry->is_spilled ? MANTA_ON_DISK
                                     : MANTA_IN_MEMORY,
        .is_copy = is_copy,
        .is_read_here = pin_is_held(rank, &of),
        .bytes = entry->bytes,
        .task = function  ? function->name
                : is_copy ? "copy"
                          : "",
        .file = function ? function->file : "",
        .line = function ? function->line : 0};
}

int manta_store_each(void (*each)(void *arg, const manta_object *object), void *arg)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!each) {
        return context_fail(context, MANTA_E_INVALID, "each is NULL");
    }
    struct rank *rank = context->rank;
    struct listing listing = {.rank = rank};
    int code = MANTA_OK;
    baton_take(&rank->baton, rank->host);
    if (rank->options.store) {
        store_each(rank->options.store, list, &listing);
        listing.room = listing.count + 1; /* others go on meanwhile */
        listing.count = 0;
        listing.objects = base_alloc(listing.room * sizeof *listing.objects);
        if (listing.objects) {
            store_each(rank->options.store, list, &listing);
        } else {
            code = context_fail(context, MANTA_E_NOMEM, "no memory for a list of values");
        }
    }
    baton_give(&rank->baton);
    for (uint64_t i = 0; listing.objects && i < listing.count; i++) {
        each(arg, &listing.objects[i]);
    }
    base_free(listing.objects);
    return code;
}
