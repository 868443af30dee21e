/* What a program calls to record and launch: see graph.h and include/manta/graph.h. */
#include "core/graph.h"

#include "core/context.h"
#include "core/idle.h"
#include "core/put.h"
#include "core/registry.h"
#include "core/task.h"

/* What refs of a launch are the results of. */
static const manta_param result_params[] = {
    {.kind = MANTA_KIND_OUTV, .size = 1, .align = 1, .type = "uint8_t", .name = "output"}};
static manta_function result_function = {.name = "manta_graph_launch",
                                         .file = "manta_graph_launch",
                                         .param_count = 1,
                                         .params = result_params,
                                         .run = put_nothing_to_run};

__attribute__((constructor)) static void register_result(void)
{
    manta_function_register(&result_function);
}

bool graph_is_result(const struct task *task)
{
    return task->function == &result_function;
}

bool graph_is_edge(const struct rank *rank, manta_ref ref)
{
    for (struct base_list *link = rank->graphs.owned.next; link != &rank->graphs.owned;
         link = link->next) {
        if (MT_CONTAINER(link, struct manta_graph, link)->plan.id == ref.parent) {
            return true;
        }
    }
    return false;
}

struct graph_bytes *graph_bytes_create(const void *data, size_t bytes)
{
    struct graph_bytes *copy = base_alloc(sizeof *copy + bytes);
    if (copy) {
        copy->sharers = 1;
        copy->bytes = (uint32_t)bytes;
        if (bytes) {
            memcpy(copy->data, data, bytes);
        }
    }
    return copy;
}

void graph_bytes_drop(struct graph_bytes *bytes)
{
    if (bytes && --bytes->sharers == 0) {
        base_free(bytes);
    }
}

/* ---- Recording ------------------------------------------------------------------------------ */

/* The caller's context; NULL: the call is refused, and *ret_code says with what. */
static struct context *enter(const manta_graph *graph, int *ret_code)
{
    struct context *context = context_enter();
    *ret_code = MANTA_E_STATE;
    if (!context) {
        return NULL;
    }
    if (context->run) {
        context_fail(context, MANTA_E_STATE,
                     "graphs are for the driver and the program's own threads, not for tasks");
        return NULL;
    }
    if (!graph) {
        *ret_code = context_fail(context, MANTA_E_INVALID, "graph is NULL");
        return NULL;
    }
    if (graph->rank != context->rank) {
        *ret_code = context_fail(context, MANTA_E_INVALID, "the graph was made on another rank");
        return NULL;
    }
    return context;
}

/* The same to record into it; a mistake after sealing has no other place than last_error. */
static struct context *enter_recording(const manta_graph *graph)
{
    int code;
    struct context *context = enter(graph, &code);
    if (context && graph->is_sealed) {
        context_fail(context, MANTA_E_STATE, "the graph is sealed: nothing can be added to it");
        return NULL;
    }
    return context;
}

static struct manta_graph *create(struct rank *rank, manta_pattern pattern)
{
    struct manta_graph *graph = base_alloc(sizeof *graph);
    if (!graph) {
        return NULL;
    }
    graph->awaited = base_alloc(rank->size);
    graph->members = base_alloc(rank->size);
    graph->listed = base_alloc(rank->size * sizeof *graph->listed);
    if (!graph->awaited || !graph->members || !graph->listed) {
        base_free(graph->awaited);
        base_free(graph->members);
        base_free(graph->listed);
        base_free(graph);
        return NULL;
    }
    graph->rank = rank;
    base_list_init(&graph->launches);
    uint64_t serial = ++rank->graphs.serial & 0x3fffffff;
    plan_init(&graph->plan, GRAPH_ID_BITS | serial << 32 | rank->number, rank->number, rank->size,
              pattern);
    base_list_push_back(&rank->graphs.owned, &graph->link);
    return graph;
}

int manta_graph_create(manta_pattern pattern, manta_graph **ret_graph)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (context->run) {
        return context_fail(
            context, MANTA_E_STATE,
            "graphs are for the driver and the program's own threads, not for tasks");
    }
    if (!ret_graph || (pattern != MANTA_BLOCKS && pattern != MANTA_CYCLIC)) {
        return context_fail(context, MANTA_E_INVALID, "%s",
                            ret_graph ? "pattern is neither MANTA_BLOCKS nor MANTA_CYCLIC"
                                      : "ret_graph is NULL");
    }
    context_take(context);
    struct manta_graph *graph = create(context->rank, pattern);
    context_give(context);
    if (!graph) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for another graph");
    }
    *ret_graph = graph;
    return MANTA_OK;
}

void graph_record(manta_function *function, const manta_options *options, const manta_slot *args,
                  manta_ref *ret_refs)
{
    struct context *context = enter_recording(options->graph);
    if (context) {
        plan_add(&options->graph->plan, function, options, args, ret_refs);
    } else {
        memset(ret_refs, 0, function_info(function)->outputs * sizeof *ret_refs);
    }
}

manta_ref manta_graph_input(manta_graph *graph, size_t bytes)
{
    return enter_recording(graph) ? plan_input(&graph->plan, bytes) : (manta_ref){0};
}

void manta_graph_feed(manta_graph *graph, manta_ref from, manta_ref input)
{
    if (enter_recording(graph)) {
        plan_feed(&graph->plan, from, input);
    }
}

void manta_graph_output(manta_graph *graph, manta_ref edge)
{
    if (enter_recording(graph)) {
        plan_output(&graph->plan, edge);
    }
}

int manta_graph_seal(manta_graph *graph)
{
    int code;
    struct context *context = enter(graph, &code);
    if (!context) {
        return code;
    }
    if (graph->is_sealed) {
        return context_fail(context, MANTA_E_STATE, "the graph is sealed already");
    }
    code = plan_check(&graph->plan);
    if (code != MANTA_OK) {
        return context_fail(context, code, "%s", graph->plan.text);
    }
    graph->inputs = base_alloc((graph->plan.value_count + 1) * sizeof *graph->inputs);
    if (!graph->inputs) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for the graph's inputs");
    }
    context_take(context);
    graph->is_sealed = true;
    graph->state = GRAPH_IDLE;
    graph->is_stale = true;
    conduct_advance(graph);
    idle_rouse(context->rank);
    context_give(context);
    return MANTA_OK;
}

/* ---- Launching ------------------------------------------------------------------------------ */

int manta_graph_set(manta_graph *graph, manta_ref input, const void *data, size_t bytes)
{
    int code;
    struct context *context = enter(graph, &code);
    if (!context) {
        return code;
    }
    uint32_t value = plan_value_of(&graph->plan, input);
    const struct plan_value *of = value == PLAN_NONE ? NULL : &graph->plan.values[value];
    if (!graph->is_sealed || !of || of->node != PLAN_NONE || (bytes && !data)) {
        bool is_open = !graph->is_sealed;
        return context_fail(context, is_open ? MANTA_E_STATE : MANTA_E_INVALID, "%s",
                            is_open                        ? "the graph is not sealed yet"
                            : !of || of->node != PLAN_NONE ? "input is no input of this graph"
                                                           : "data is NULL");
    }
    if (bytes > MANTA_GRAPH_VALUE_MAX) {
        return context_fail(
            context, MANTA_E_TOOBIG,
            "%zu bytes for an input of a graph, which has at most %u: share them out over "
            "several inputs, or use plain tasks",
            bytes, MANTA_GRAPH_VALUE_MAX);
    }
    if (of->is_fixed && of->bytes != bytes) {
        return context_fail(context, MANTA_E_TYPE, "%zu bytes for an input of %u", bytes,
                            of->bytes);
    }
    struct graph_bytes *copy = graph_bytes_create(data, bytes);
    if (!copy) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for an input of %zu bytes", bytes);
    }
    context_take(context);
    graph_bytes_drop(graph->inputs[value]);
    graph->inputs[value] = copy;
    context_give(context);
    return MANTA_OK;
}

/* Nobody waits for them: they are as if they had never been asked for. */
static int give_up(struct context *context, struct launch *launch, int code)
{
    for (uint32_t i = 0; launch->tasks && i < launch->task_count && launch->tasks[i]; i++) {
        task_fail(context->rank, launch->tasks[i], code, "the launch was refused");
    }
    return code;
}

static int make_records(struct context *context, struct launch *launch, manta_ref *ret_refs)
{
    for (uint32_t i = 0; i < launch->task_count; i++) {
        struct task *task = put_make_record(context, &result_function);
        if (!task) {
            return give_up(context, launch, MANTA_E_NOMEM);
        }
        object_hold(&task->object);
        launch->tasks[i] = task;
        ret_refs[i] = task_ref(context->rank, task, 0);
    }
    return MANTA_OK;
}

static int take_inputs(struct context *context, struct manta_graph *graph, struct launch *launch)
{
    uint32_t number = 0;
    for (size_t i = 0; i < graph->plan.value_count; i++) {
        if (graph->plan.values[i].node != PLAN_NONE) {
            continue;
        }
        if (!graph->inputs[i]) {
            return context_fail(context, MANTA_E_INVALID,
                                "input %u of the graph was never set: call manta_graph_set before",
                                number);
        }
        graph->inputs[i]->sharers++;
        launch->inputs[i] = graph->inputs[i];
        number++;
    }
    return MANTA_OK;
}

static int queue_launch(struct context *context, struct manta_graph *graph, uint32_t rounds,
                        manta_ref *ret_refs)
{
    struct launch *launch = base_alloc(sizeof *launch);
    if (!launch) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for another launch");
    }
    const struct plan *plan = &graph->plan;
    launch->rounds = rounds;
    launch->task_count = MT_MAX(plan->output_count, 1);
    launch->inputs = base_alloc((plan->value_count + 1) * sizeof *launch->inputs);
    launch->results = base_alloc((plan->output_count + 1) * sizeof *launch->results);
    launch->tasks = base_alloc(launch->task_count * sizeof *launch->tasks);
    base_list_push_back(&graph->launches, &launch->link);
    int code = launch->inputs && launch->results && launch->tasks
                   ? take_inputs(context, graph, launch)
                   : context_fail(context, MANTA_E_NOMEM, "no memory for another launch");
    if (code == MANTA_OK) {
        code = make_records(context, launch, ret_refs);
    }
    if (code != MANTA_OK) {
        conduct_free_launch(graph, launch);
    }
    return code;
}

int manta_graph_launch(manta_graph *graph, uint64_t rounds, manta_ref *ret_refs)
{
    int code;
    struct context *context = enter(graph, &code);
    if (!context) {
        return code;
    }
    if (!graph->is_sealed || graph->is_destroyed) {
        return context_fail(context, MANTA_E_STATE, "the graph is not sealed yet, or destroyed");
    }
    if (!ret_refs || rounds == 0 || rounds >= UINT32_MAX) {
        return context_fail(context, MANTA_E_INVALID, "%s",
                            ret_refs ? "rounds is 0, or more than 2^32 - 2" : "ret_refs is NULL");
    }
    context_take(context);
    code = queue_launch(context, graph, (uint32_t)rounds, ret_refs);
    conduct_advance(graph);
    idle_rouse(context->rank);
    context_give(context);
    return code;
}

void manta_graph_destroy(manta_graph *graph)
{
    int code;
    struct context *context = graph ? enter(graph, &code) : NULL;
    if (!context) {
        return;
    }
    context_take(context);
    graph->is_destroyed = true;
    if (!graph->is_sealed) {
        conduct_free(graph);
    } else {
        conduct_advance(graph);
    }
    idle_rouse(context->rank);
    context_give(context);
}

/* ---- The rank ------------------------------------------------------------------------------- */

void graph_peer_down(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->graphs.owned, link)
    {
        conduct_peer_down(MT_CONTAINER(link, struct manta_graph, link), dead);
    }
    member_peer_down(rank, dead);
}

void graph_fini(struct rank *rank)
{
    BASE_LIST_EACH(&rank->graphs.owned, link)
    {
        conduct_free(MT_CONTAINER(link, struct manta_graph, link));
    }
    member_fini(rank);
    for (uint32_t i = 0; rank->workers && i < rank->worker_count; i++) {
        if (rank->workers[i].leaf) {
            base_free(rank->workers[i].leaf->error);
        }
        base_free(rank->workers[i].leaf);
    }
}
