/* The rank that made a graph runs its launches: see graph.h. */
#include "core/dispatch.h"
#include "core/graph.h"
#include "core/idle.h"
#include "core/message.h"
#include "core/registry.h"
#include "core/task.h"
#include "core/value.h"

#include <stdarg.h>
#include <stdio.h>

enum { PART_BYTES = 1 << 18 }; /* in one message */

static struct manta_graph *find(struct rank *rank, uint64_t id)
{
    BASE_LIST_EACH(&rank->graphs.owned, link)
    {
        struct manta_graph *graph = MT_CONTAINER(link, struct manta_graph, link);
        if (graph->plan.id == id) {
            return graph;
        }
    }
    return NULL;
}

static struct launch *first_launch(const struct manta_graph *graph)
{
    return base_list_is_empty(&graph->launches)
               ? NULL
               : MT_CONTAINER(graph->launches.next, struct launch, link);
}

static MT_PRINTF(3, 4) manta_error *make_error(struct rank *rank, int code, const char *format, ...)
{
    manta_error *error = base_alloc(sizeof *error);
    va_list args;
    if (error) {
        error->code = code;
        error->rank = rank->number;
        snprintf(error->host, sizeof error->host, "%s", rank->options.host_name);
        snprintf(error->task, sizeof error->task, "manta_graph_launch");
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return error;
}

static void set_error(struct launch *launch, manta_error *error)
{
    if (!launch || launch->error) {
        base_free(error);
    } else {
        launch->error = error;
    }
}

/* ---- The end of a launch -------------------------------------------------------------------- */

static manta_error *copy_error(const manta_error *error)
{
    manta_error *copy = error ? base_alloc(sizeof *copy) : NULL;
    if (copy) {
        *copy = *error;
    }
    return copy;
}

static void complete(struct manta_graph *graph, struct launch *launch, uint32_t index)
{
    struct rank *rank = graph->rank;
    struct task *task = launch->tasks[index];
    const struct graph_bytes *bytes = launch->results ? launch->results[index] : NULL;
    struct value_part part = {.data = bytes ? bytes->data : NULL,
                              .bytes = bytes ? bytes->bytes : 0};
    struct value *value =
        launch->error ? NULL
                      : value_create(rank, &part, 1, (manta_ref){task->parent, task->position, 0});
    if (value) {
        task_complete(rank, task, MANTA_OK, value, NULL);
    } else if (launch->error) {
        task_complete(rank, task, launch->error->code, NULL, copy_error(launch->error));
    } else {
        task_fail(rank, task, MANTA_E_NOMEM, "no memory for output %u of the graph", index);
    }
}

void conduct_free_launch(struct manta_graph *graph, struct launch *launch)
{
    base_list_remove(&launch->link);
    for (uint32_t i = 0; launch->tasks && i < launch->task_count; i++) {
        if (launch->tasks[i]) {
            object_drop(graph->rank, &launch->tasks[i]->object);
        }
    }
    for (size_t i = 0; launch->inputs && i < graph->plan.value_count; i++) {
        graph_bytes_drop(launch->inputs[i]);
    }
    for (uint32_t i = 0; launch->results && i < graph->plan.output_count; i++) {
        graph_bytes_drop(launch->results[i]);
    }
    base_free(launch->inputs);
    base_free(launch->results);
    base_free(launch->tasks);
    base_free(launch->error);
    base_free(launch);
}

static void end_launch(struct manta_graph *graph, struct launch *launch)
{
    for (uint32_t i = 0; i < launch->task_count; i++) {
        complete(graph, launch, i);
    }
    conduct_free_launch(graph, launch);
}

/* ---- Saying things to members --------------------------------------------------------------- */

static void tell(struct manta_graph *graph, uint32_t member, enum message_kind kind,
                 const void *body, size_t bytes)
{
    struct wire_header about = {.parent = graph->plan.id, .token = graph->epoch};
    message_tell(graph->rank, member, kind, about, body, bytes);
}

static void tell_living(struct manta_graph *graph, enum message_kind kind, const void *body,
                        size_t bytes)
{
    for (uint32_t i = 0; i < graph->listed_count; i++) {
        uint32_t member = graph->listed[i];
        if (!graph->rank->down[member]) {
            tell(graph, member, kind, body, bytes);
        }
    }
}

static void send_part(struct manta_graph *graph, uint32_t member)
{
    struct wire_header about = {.parent = graph->plan.id, .token = graph->epoch};
    const uint8_t *bytes = graph->cut.parts[member];
    struct message_graph_part head = {.total = graph->cut.part_bytes[member]};
    static const size_t room = sizeof head + PART_BYTES;
    uint8_t *piece = base_alloc(MT_MIN(room, sizeof head + head.total));
    while (piece && head.offset < head.total) {
        size_t size = MT_MIN(head.total - head.offset, (uint64_t)PART_BYTES);
        memcpy(piece, &head, sizeof head);
        memcpy(piece + sizeof head, bytes + head.offset, size);
        message_tell(graph->rank, member, MESSAGE_GRAPH_PART, about, piece, sizeof head + size);
        head.offset += size;
    }
    if (!piece) {
        int code = MANTA_E_NOMEM;
        struct wire_reader reader = wire_reader_init(&code, sizeof code);
        conduct_on_ready(graph->rank, member, &about, &reader);
    }
    base_free(piece);
}

/* Answers may come while others are still being asked: the count begins with one too many. */
static void await_members(struct manta_graph *graph)
{
    graph->awaited_count = 1;
    for (uint32_t i = 0; i < graph->listed_count; i++) {
        uint32_t member = graph->listed[i];
        graph->awaited[member] = !graph->rank->down[member];
        graph->awaited_count += graph->awaited[member];
    }
}

static void all_answered(struct manta_graph *graph);

static void answered(struct manta_graph *graph)
{
    if (--graph->awaited_count == 0) {
        all_answered(graph);
    }
}

static void note_answer(struct manta_graph *graph, uint32_t member)
{
    if (graph->awaited[member]) {
        graph->awaited[member] = 0;
        answered(graph);
    }
}

/* ---- Parts ---------------------------------------------------------------------------------- */

static void prepare(struct manta_graph *graph)
{
    struct rank *rank = graph->rank;
    plan_cut_fini(&graph->cut);
    graph->epoch++;
    int code = plan_cut(&graph->plan, rank->down, function_hash, &graph->cut);
    if (code != MANTA_OK) {
        graph->error = make_error(rank, code, "no memory to share out the graph");
        conduct_advance(graph);
        return;
    }
    graph->is_stale = false;
    graph->has_parts = true;
    for (uint32_t i = 0; i < graph->plan.ranks; i++) {
        graph->awaited[i] = graph->cut.parts[i] != NULL;
        graph->awaited_count += graph->awaited[i];
        if (graph->awaited[i] && !graph->members[i]) {
            graph->members[i] = 1;
            graph->listed[graph->listed_count++] = i;
        }
    }
    graph->state = GRAPH_PREPARING;
    graph->awaited_count++;
    for (uint32_t i = 0; i < graph->plan.ranks; i++) {
        if (graph->cut.parts[i]) {
            send_part(graph, i);
            base_free(graph->cut.parts[i]);
            graph->cut.parts[i] = NULL;
        }
    }
    answered(graph);
}

void conduct_on_ready(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct manta_graph *graph = find(rank, header->parent);
    int code = (int)wire_get_u32(body);
    if (!graph || graph->state != GRAPH_PREPARING || graph->epoch != header->token) {
        return;
    }
    if (code != MANTA_OK && !graph->error) {
        graph->error = make_error(rank, code, "rank %u could not make its part of the graph: %s",
                                  from, manta_error_text(code));
    }
    note_answer(graph, from);
}

/* ---- Launches ------------------------------------------------------------------------------- */

static void send_inputs(struct manta_graph *graph, const struct launch *launch)
{
    for (size_t i = 0; i < graph->cut.input_count; i++) {
        const struct plan_use *use = &graph->cut.inputs[i];
        const struct graph_bytes *bytes = launch->inputs[use->value];
        struct wire_header about = {
            .parent = graph->plan.id, .position = use->index, .token = graph->epoch};
        if (use->rank == graph->rank->number) {
            member_set_input(graph->rank, &about, bytes);
            continue;
        }
        uint8_t *out = message_begin(graph->rank, use->rank, MESSAGE_GRAPH_VALUE, &about,
                                     2 * sizeof(uint32_t) + bytes->bytes);
        if (out) {
            wire_put_u32(&out, 0);
            wire_put_u32(&out, 0);
            wire_put_bytes(&out, bytes->data, bytes->bytes);
            message_end(graph->rank);
        }
    }
}

/* Those that have ended already do not answer again. */
static void tell_stop(struct manta_graph *graph)
{
    for (uint32_t i = 0; i < graph->listed_count; i++) {
        if (graph->awaited[graph->listed[i]]) {
            tell(graph, graph->listed[i], MESSAGE_GRAPH_STOP, NULL, 0);
        }
    }
    dispatch_flush(graph->rank);
}

static void stop(struct manta_graph *graph)
{
    if (graph->state == GRAPH_RUNNING) {
        graph->state = GRAPH_STOPPING;
        graph->awaited_count++;
        tell_stop(graph);
        answered(graph);
    }
}

static void start(struct manta_graph *graph, struct launch *launch)
{
    graph->epoch++;
    graph->state = GRAPH_RUNNING;
    graph->rank->stats.relaunched += launch->has_begun;
    launch->has_begun = true;
    await_members(graph);
    send_inputs(graph, launch);
    tell_living(graph, MESSAGE_GRAPH_LAUNCH, &launch->rounds, sizeof launch->rounds);
    dispatch_flush(graph->rank);
    if (graph->state == GRAPH_STOPPING) { /* for want of memory, before all had begun */
        tell_stop(graph);
    }
    answered(graph);
}

/* READY or ENDED of everybody who lives. */
static void all_answered(struct manta_graph *graph)
{
    struct launch *launch = first_launch(graph);
    bool has_run = graph->state == GRAPH_RUNNING || graph->state == GRAPH_STOPPING;
    bool is_whole = graph->state == GRAPH_RUNNING;
    graph->state = GRAPH_IDLE;
    if (has_run && launch && (is_whole || launch->error)) {
        end_launch(graph, launch);
    }
    conduct_advance(graph);
}

/* True: a launch ended before it began, and there may be another one. */
static bool go(struct manta_graph *graph)
{
    struct rank *rank = graph->rank;
    if (base_list_is_empty(&graph->launches) && graph->is_destroyed) {
        tell_living(graph, MESSAGE_GRAPH_DROP, NULL, 0);
        dispatch_flush(rank);
        conduct_free(graph);
    } else {
        struct launch *launch = first_launch(graph);
        if (launch && graph->error) {
            set_error(launch, copy_error(graph->error));
        }
        if (launch && launch->error) {
            end_launch(graph, launch);
            return true;
        }
        if (graph->is_stale && (launch || !graph->has_parts)) {
            prepare(graph);
        } else if (launch) {
            start(graph, launch);
        }
    }
    return false;
}

void conduct_advance(struct manta_graph *graph)
{
    while (graph->state == GRAPH_IDLE && !graph->rank->is_stopped && go(graph)) {}
}

void conduct_on_result(struct rank *rank, uint32_t from, const struct wire_header *header,
                       struct wire_reader *body)
{
    struct manta_graph *graph = find(rank, header->parent);
    struct launch *launch = graph ? first_launch(graph) : NULL;
    size_t size = wire_left(body);
    const void *bytes = wire_take(body, size);
    if (!launch || graph->state != GRAPH_RUNNING || graph->epoch != header->token ||
        header->position >= graph->plan.output_count) {
        return;
    }
    struct graph_bytes **result = &launch->results[header->position];
    graph_bytes_drop(*result);
    *result = graph_bytes_create(bytes, size);
    if (!*result) {
        set_error(launch, make_error(rank, MANTA_E_NOMEM, "no memory for output %u of the graph",
                                     header->position));
    }
}

void conduct_on_failed(struct rank *rank, uint32_t from, const struct wire_header *header,
                       struct wire_reader *body)
{
    struct manta_graph *graph = find(rank, header->parent);
    bool is_current = graph && graph->epoch == header->token &&
                      (graph->state == GRAPH_RUNNING || graph->state == GRAPH_STOPPING);
    manta_error *error = is_current ? wire_error_read(body) : NULL;
    if (is_current) {
        set_error(first_launch(graph),
                  error ? error : make_error(rank, MANTA_E_NOMEM, "no memory on rank %u", from));
        stop(graph);
    }
}

void conduct_on_ended(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct manta_graph *graph = find(rank, header->parent);
    if (graph && graph->epoch == header->token &&
        (graph->state == GRAPH_RUNNING || graph->state == GRAPH_STOPPING)) {
        note_answer(graph, from);
    }
}

/* ---- Cancelled, or dead --------------------------------------------------------------------- */

static bool has_task(const struct launch *launch, const struct task *task)
{
    for (uint32_t i = 0; i < launch->task_count; i++) {
        if (launch->tasks[i] == task) {
            return true;
        }
    }
    return false;
}

static bool is_under_way(const struct manta_graph *graph, const struct launch *launch)
{
    return launch == first_launch(graph) && graph->state != GRAPH_IDLE;
}

static void cancel(struct manta_graph *graph, struct launch *launch)
{
    bool is_first = is_under_way(graph, launch);
    set_error(launch, make_error(graph->rank, MANTA_E_CANCELLED, "the launch was cancelled"));
    if (!launch->error) { /* without memory for that it goes on, for nobody */
        return;
    }
    if (is_first) {
        stop(graph);
    } else {
        end_launch(graph, launch);
    }
}

/* NULL: it has ended. */
static struct launch *launch_of(struct rank *rank, const struct task *task,
                                struct manta_graph **ret_graph)
{
    BASE_LIST_EACH(&rank->graphs.owned, link)
    {
        struct manta_graph *graph = MT_CONTAINER(link, struct manta_graph, link);
        BASE_LIST_EACH(&graph->launches, at)
        {
            struct launch *launch = MT_CONTAINER(at, struct launch, link);
            if (has_task(launch, task)) {
                *ret_graph = graph;
                return launch;
            }
        }
    }
    return NULL;
}

void conduct_cancel(struct rank *rank, struct task *task)
{
    struct manta_graph *graph;
    struct launch *launch = launch_of(rank, task, &graph);
    if (launch) {
        cancel(graph, launch);
    }
}

const char *conduct_phase(struct rank *rank, const struct task *task)
{
    struct manta_graph *graph;
    struct launch *launch = launch_of(rank, task, &graph);
    return launch && is_under_way(graph, launch) ? "the launch ran"
                                                 : "the launch waited for its turn";
}

void conduct_peer_down(struct manta_graph *graph, uint32_t dead)
{
    struct launch *launch = first_launch(graph);
    if (!graph->members[dead]) {
        return;
    }
    graph->is_stale = true;
    if (graph->state == GRAPH_RUNNING && launch) {
        if (++launch->deaths > GRAPH_DEATHS_MAX) {
            set_error(launch, make_error(graph->rank, MANTA_E_CRASH,
                                         "rank %u died, the %uth in this launch of the graph", dead,
                                         launch->deaths));
        }
        graph->awaited_count++;
        stop(graph);
        note_answer(graph, dead);
        answered(graph);
    } else {
        note_answer(graph, dead);
    }
}

void conduct_free(struct manta_graph *graph)
{
    base_list_remove(&graph->link);
    while (!base_list_is_empty(&graph->launches)) {
        conduct_free_launch(graph, first_launch(graph));
    }
    for (size_t i = 0; graph->inputs && i < graph->plan.value_count; i++) {
        graph_bytes_drop(graph->inputs[i]);
    }
    plan_cut_fini(&graph->cut);
    plan_fini(&graph->plan);
    base_free(graph->inputs);
    base_free(graph->awaited);
    base_free(graph->members);
    base_free(graph->listed);
    base_free(graph->error);
    base_free(graph);
}
