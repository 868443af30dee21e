/* What every living rank is waiting for, printed when a simulated job hangs; with MANTA_TRACE set,
 * each message as it is taken and each death as it is told. */
#include "core/graph.h"
#include "core/message.h"
#include "core/object.h"
#include "core/rank.h"
#include "core/recover.h"
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const task_states[] = {"waiting", "pending", "sent", "done"};
static const char *const run_states[] = {"queued",  "registering", "fetching",
                                         "running", "parked",      "finished"};

static void dump_holders(const struct task *task)
{
    const struct remote_holder *holder = task->extra ? task->extra->holders : NULL;
    for (; holder; holder = holder->next) {
        if (holder->added > holder->dropped) {
            fprintf(stderr, "    held by %u at %u: %u, dropped %u\n", holder->rank,
                    holder->position, holder->added, holder->dropped);
        }
    }
}

static void dump_tasks(struct rank *rank)
{
    for (uint32_t i = 1; i < rank->tasks.fresh; i++) {
        struct task *task = base_slab_at(&rank->tasks, i);
        if (task->object.kind &&
            (task->object.holds || !task->object.is_done || task->flags & TASK_LINEAGE)) {
            fprintf(stderr,
                    "  task %016" PRIx64
                    "/%u %s %s%s on %u holds %d missing %u flags %x attempt %u\n",
                    task->parent, task->position, task->function->name, task_states[task->state],
                    task->object.is_done ? " (has a result)" : "", task->exec_rank,
                    task->object.holds, task->inputs_missing, task->flags, task->attempt);
            dump_holders(task);
        }
    }
}

static void dump_runs(struct rank *rank)
{
    for (uint32_t i = 1; i < rank->runs.fresh; i++) {
        struct run *run = base_slab_at(&rank->runs, i);
        if (run->id && run->index == i) {
            fprintf(stderr,
                    "  run %016" PRIx64 " of %016" PRIx64 "/%u %s %s owner %u attempt %u%s%s%s%s\n",
                    run->id, run->parent, run->position, run->function->name,
                    run_states[run->state], run->owner, run->attempt,
                    run->is_orphan ? " orphan" : "", run->is_dismissed ? " dismissed" : "",
                    run->is_retained ? " kept" : "", run->task ? " local" : "");
        }
    }
}

static void dump_borrows(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->borrows, &at, &key, &value)) {
        struct borrow *borrow = value;
        fprintf(stderr, "  borrow %016" PRIx64 "/%u of %u holds %d%s%s%s%s%s acks %u\n",
                borrow->ref.parent, borrow->ref.position, borrow->ref.owner, borrow->object.holds,
                borrow->object.is_done ? " done" : "", borrow->is_requested ? " requested" : "",
                borrow->is_registered ? " registered" : "",
                borrow->is_redirected ? " redirected" : "", borrow->is_looking ? " looking" : "",
                borrow->acks_missing);
    }
}

static unsigned length(const struct base_list *list)
{
    unsigned count = 0;
    for (const struct base_list *at = list->next; at != list; at = at->next) {
        count++;
    }
    return count;
}

static void dump_graphs(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    BASE_LIST_EACH(&rank->graphs.owned, link)
    {
        const struct manta_graph *graph = MT_CONTAINER(link, struct manta_graph, link);
        fprintf(stderr, "  graph %016" PRIx64 " state %d epoch %u awaits %u:", graph->plan.id,
                graph->state, graph->epoch, graph->awaited_count);
        for (uint32_t i = 0; i < rank->size; i++) {
            if (graph->awaited[i]) {
                fprintf(stderr, " %u", i);
            }
        }
        fprintf(stderr, "\n");
    }
    while (base_map_next(&rank->graphs.members, &at, &key, &value)) {
        const struct member *member = value;
        const struct part *part = member->part;
        fprintf(stderr, "  member of %016" PRIx64 " epoch %u%s%s running %u", key.high,
                member->epoch, member->has_ended ? " ended" : "",
                leaf_is_stopped(member) ? " stopped" : "", member->running);
        if (part) {
            fprintf(stderr, "; %u nodes, rounds %u done %u open %u ready %u left %u",
                    part->head.nodes, part->rounds, part->done, part->open,
                    part->ready_tail - part->ready_head, part->left[part->done % PART_DEPTH]);
        }
        fprintf(stderr, "\n");
    }
}

void world_dump_rank(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    fprintf(stderr, "rank %u: pending %u ready %u parked %u unfinished %" PRIu64 " finishing %d\n",
            rank->number, rank->pending_count, rank->ready_count, rank->parked_count,
            rank->unfinished, rank->is_finishing);
    fprintf(stderr, "  deaths %u settling %u registrations missing %u in grace %u\n", rank->deaths,
            length(&rank->settling), rank->settles_missing, length(&rank->graced));
    dump_graphs(rank);
    dump_tasks(rank);
    dump_runs(rank);
    dump_borrows(rank);
    while (base_map_next(&rank->scopes, &at, &key, &value)) {
        struct scope *scope = value;
        fprintf(stderr, "  scope %016" PRIx64 " children %u%s%s next %u\n", scope->id,
                scope->children, scope->is_ended ? " ended" : "",
                scope->is_taken_over ? " taken over" : "", scope->next_position);
    }
    for (at = 0; base_map_next(&rank->homes, &at, &key, &value);) {
        fprintf(stderr, "  home of %016" PRIx64 "\n", key.high);
    }
}

/* ---- Trace ---------------------------------------------------------------------------------- */

static const char *const message_names[MESSAGE_KINDS] = {
    [MESSAGE_TASK] = "TASK",
    [MESSAGE_RESULT] = "RESULT",
    [MESSAGE_CREDIT] = "CREDIT",
    [MESSAGE_GONE] = "GONE",
    [MESSAGE_CANCEL] = "CANCEL",
    [MESSAGE_RELEASE] = "RELEASE",
    [MESSAGE_REQUEST] = "REQUEST",
    [MESSAGE_TABLE] = "TABLE",
    [MESSAGE_TABLE_PART] = "TABLE_PART",
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
    [MESSAGE_NOT_MINE] = "NOT_MINE",
    [MESSAGE_FETCH] = "FETCH",
    [MESSAGE_CHUNK] = "CHUNK",
    [MESSAGE_BEGUN] = "BEGUN",
    [MESSAGE_SETTLED] = "SETTLED",
    [MESSAGE_CLEARED] = "CLEARED",
    [MESSAGE_QUIET] = "QUIET",
    [MESSAGE_QUIET_ANSWER] = "QUIET_ANSWER",
    [MESSAGE_STOP_ALL] = "STOP_ALL",
};

static void trace_requests(const struct wire_header *header, const void *body)
{
    struct message_request entry;
    for (size_t at = 0; at + sizeof entry <= header->length; at += sizeof entry) {
        memcpy(&entry, (const uint8_t *)body + at, sizeof entry);
        fprintf(stderr, " (%016" PRIx64 "/%u instance %u%s%s%s)", entry.parent, entry.position,
                entry.instance, entry.what & REQUEST_HOLD ? " hold" : "",
                entry.what & REQUEST_ASK ? " ask" : "",
                entry.what & REQUEST_LET_GO ? " let go" : "");
    }
}

static void trace_answers(const struct wire_header *header, const void *body)
{
    struct message_answer entry;
    for (size_t at = 0; at + sizeof entry <= header->length; at += sizeof entry + entry.bytes) {
        memcpy(&entry, (const uint8_t *)body + at, sizeof entry);
        fprintf(stderr, " (%016" PRIx64 "/%u%s%s)", entry.parent, entry.position,
                entry.what & ANSWER_HELD ? " held" : "", entry.what & ANSWER_VALUE ? " value" : "");
    }
}

static void trace_body(const struct wire_header *header, const void *body)
{
    uint32_t words[8] = {0};
    memcpy(words, body, MT_MIN((size_t)header->length, sizeof words));
    switch (header->kind) {
    case MESSAGE_TASK:
        fprintf(stderr, " id %016" PRIx64 " flags %x",
                core_task_id(header->parent, header->position), words[1] & UINT16_MAX);
        break;
    case MESSAGE_RESULT:
        fprintf(stderr, " id %016" PRIx64 " code %d flags %x token %u",
                core_task_id(header->parent, header->position), (int)words[0],
                words[1] & UINT16_MAX, words[2]);
        break;
    case MESSAGE_HOLD:
        fprintf(stderr, " holder %u instance %u", words[0], words[1]);
        break;
    case MESSAGE_REQUEST:
        trace_requests(header, body);
        break;
    case MESSAGE_ANSWER:
        trace_answers(header, body);
        break;
    case MESSAGE_OFFER:
        fprintf(stderr, " runner %u run %u", words[3], words[4]);
        break;
    default:
        fprintf(stderr, " %u %u", words[0], words[1]);
    }
}

void world_trace_message(uint64_t now_ns, uint32_t to, uint32_t from,
                         const struct wire_header *header, const void *body)
{
    if (getenv("MANTA_TRACE") && message_is_counted(header->kind)) {
        fprintf(stderr, "%9.3f us %u > %u %s %016" PRIx64 "/%u token %u attempt %u",
                (double)now_ns / 1e3, from, to, message_names[header->kind], header->parent,
                header->position, header->token, header->attempt);
        trace_body(header, body);
        fputc('\n', stderr);
    }
}

void world_trace_death(uint64_t now_ns, uint32_t to, uint32_t dead)
{
    if (getenv("MANTA_TRACE")) {
        fprintf(stderr, "%9.3f us %u hears that %u is dead\n", (double)now_ns / 1e3, to, dead);
    }
}
