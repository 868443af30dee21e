/*
 * Recorded graphs: what each call promises, mistakes, and random graphs against a serial
 * reference on virtual ranks, with deaths. world_check that after each run no record is left.
 */
#define TEST_NAME "graphs"
#include "behaviours.h"

#include <manta/graph.h>

#include "core/graph.h"

/* ---- Tasks ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ (x >> 29);
}

MANTA_TASK(g_source, val(uint64_t, c), val(uint64_t, work_ns), out(uint64_t, y))
{
    core_work(work_ns);
    *y = mix(c);
    return MANTA_OK;
}

MANTA_TASK(g_join, in(uint64_t, a), in(uint64_t, b), val(uint64_t, c), val(uint64_t, work_ns),
           out(uint64_t, y))
{
    core_work(work_ns);
    *y = mix(a[0] + 3 * b[b_len - 1] + c);
    return MANTA_OK;
}

MANTA_TASK(g_pair, in(uint64_t, a), val(uint64_t, work_ns), out(uint64_t, x), out(uint64_t, y))
{
    core_work(work_ns);
    *x = mix(a[0] ^ 1);
    *y = mix(a[a_len - 1] ^ 2);
    return MANTA_OK;
}

static size_t length_from(uint64_t a)
{
    return 1 + a % 300;
}

MANTA_TASK(g_spread, in(uint64_t, a), span(uint64_t, table), val(uint64_t, work_ns),
           outv(uint64_t, ys))
{
    core_work(work_ns);
    size_t length = length_from(a[0]);
    uint64_t *y = manta_outv_alloc(ys, length);
    for (size_t i = 0; i < length; i++) {
        y[i] = mix(a[i % a_len] + table[i % table_len] + i);
    }
    return MANTA_OK;
}

MANTA_TASK(g_change, inout(uint64_t, a), val(uint64_t, c), val(uint64_t, work_ns))
{
    core_work(work_ns);
    for (size_t i = 0; i < a_len; i++) {
        a[i] = mix(a[i] + c);
    }
    return MANTA_OK;
}

MANTA_TASK(g_sink, in(uint64_t, a), text(word))
{
    return a_len && word && strcmp(word, "down") == 0 ? MANTA_OK : 99;
}

/* ---- Random graphs -------------------------------------------------------------------------- */

enum { VALUES_MAX = 160, NODES_MAX = 60, LENGTH_MAX = 300, OUTPUTS_MAX = 12 };

enum shape { SOURCE, JOIN, PAIR, SPREAD, CHANGE, SINK, SHAPES };

struct value_model {
    uint64_t x[LENGTH_MAX];
    size_t length;
};

struct node_model {
    enum shape shape;
    uint32_t a, b, first;
    uint64_t c;
};

struct model {
    uint64_t seed, drawn;
    uint32_t inputs, nodes, values, outputs;
    struct node_model node[NODES_MAX];
    bool is_single[VALUES_MAX], is_lost[VALUES_MAX]; /* single: always one element */
    uint32_t feed[VALUES_MAX];                       /* of inputs; 0: none */
    uint32_t output[OUTPUTS_MAX];
    manta_ref edge[VALUES_MAX];
    struct value_model before[VALUES_MAX], now[VALUES_MAX];
};

static uint64_t draw(struct model *model, uint64_t below)
{
    return mix(model->seed + mix(++model->drawn)) % below;
}

static const uint64_t table[3] = {11, 22, 33};

static void step_node(struct model *model, const struct node_model *node)
{
    struct value_model *a = &model->now[node->a], *b = &model->now[node->b];
    struct value_model *y = &model->now[node->first];
    y->length = 1;
    if (node->shape == SOURCE) {
        y->x[0] = mix(node->c);
    } else if (node->shape == JOIN) {
        y->x[0] = mix(a->x[0] + 3 * b->x[b->length - 1] + node->c);
    } else if (node->shape == PAIR) {
        y->x[0] = mix(a->x[0] ^ 1);
        y[1].x[0] = mix(a->x[a->length - 1] ^ 2);
        y[1].length = 1;
    } else if (node->shape == SPREAD) {
        y->length = length_from(a->x[0]);
        for (size_t i = 0; i < y->length; i++) {
            y->x[i] = mix(a->x[i % a->length] + table[i % 3] + i);
        }
    } else if (node->shape == CHANGE) {
        y->length = a->length;
        for (size_t i = 0; i < a->length; i++) {
            y->x[i] = mix(a->x[i] + node->c);
        }
    }
}

/* From now's inputs, `rounds` times. */
static void reference(struct model *model, uint64_t rounds)
{
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint32_t i = 1; round && i <= model->inputs; i++) {
            model->before[i] = model->now[model->feed[i] ? model->feed[i] : i];
        }
        for (uint32_t i = 1; round && i <= model->inputs; i++) {
            model->now[i] = model->before[i];
        }
        for (uint32_t i = 0; i < model->nodes; i++) {
            step_node(model, &model->node[i]);
        }
    }
}

static uint32_t draw_value(struct model *model)
{
    uint32_t value;
    do {
        value = 1 + (uint32_t)draw(model, model->values);
    } while (model->is_lost[value]);
    return value;
}

static void record_node(struct model *model, manta_graph *graph, struct node_model *node,
                        const manta_options *options)
{
    manta_ref *edge = &model->edge[node->first], a = model->edge[node->a];
    uint64_t work_ns = draw(model, 3) ? draw(model, 3000) : 0;
    if (node->shape == SOURCE) {
        *edge = g_source_async(options, node->c, work_ns);
    } else if (node->shape == JOIN) {
        *edge = g_join_async(options, a, model->edge[node->b], node->c, work_ns);
    } else if (node->shape == PAIR) {
        struct g_pair_refs refs = g_pair_async(options, a, work_ns);
        edge[0] = refs.x;
        edge[1] = refs.y;
    } else if (node->shape == SPREAD) {
        *edge = g_spread_async(options, a, table, 3, work_ns);
    } else if (node->shape == CHANGE) {
        *edge = g_change_async(options, a, node->c, work_ns);
    } else {
        *edge = g_sink_async(options, a, "down");
    }
}

static void draw_node(struct model *model, manta_graph *graph, bool is_placed)
{
    struct node_model *node = &model->node[model->nodes++];
    node->shape = (enum shape)draw(model, SHAPES);
    node->a = draw_value(model);
    node->b = draw_value(model);
    node->c = draw(model, 1000);
    node->first = model->values + 1;
    model->values += node->shape == PAIR ? 2 : 1;
    model->is_lost[node->first] = node->shape == SINK;
    model->is_single[node->first] =
        node->shape != SPREAD && (node->shape != CHANGE || model->is_single[node->a]);
    model->is_single[node->first + 1] = true;
    uint32_t rank = is_placed ? MANTA_ON(draw(model, world_size())) : 0;
    record_node(model, graph, node, MANTA_OPTIONS(.graph = graph, .rank = rank));
}

static void draw_model(struct model *model, manta_graph *graph)
{
    bool is_placed = draw(model, 2);
    model->inputs = 1 + (uint32_t)draw(model, 4);
    for (uint32_t i = 1; i <= model->inputs; i++) {
        model->is_single[i] = draw(model, 2);
        model->edge[i] = manta_graph_input(graph, model->is_single[i] ? sizeof(uint64_t) : 0);
    }
    model->values = model->inputs;
    uint32_t nodes = 1 + (uint32_t)draw(model, draw(model, 2) ? 4 : NODES_MAX);
    while (model->nodes < nodes) {
        draw_node(model, graph, is_placed);
    }
    for (uint32_t i = 1; i <= model->inputs; i++) {
        uint32_t from = draw_value(model);
        if (from > model->inputs && draw(model, 4) &&
            (model->is_single[from] || !model->is_single[i])) {
            model->feed[i] = from;
            manta_graph_feed(graph, model->edge[from], model->edge[i]);
        }
    }
    uint32_t tries = (uint32_t)draw(model, OUTPUTS_MAX);
    for (uint32_t i = 0; i < tries; i++) {
        uint32_t value = draw_value(model);
        bool is_new = value > model->inputs;
        for (uint32_t j = 0; j < model->outputs; j++) {
            is_new &= model->output[j] != value;
        }
        if (is_new) {
            model->output[model->outputs++] = value;
            manta_graph_output(graph, model->edge[value]);
        }
    }
}

/* Inputs drawn, set, and in `now`. */
static int set_inputs(struct model *model, manta_graph *graph)
{
    for (uint32_t i = 1; i <= model->inputs; i++) {
        struct value_model *value = &model->now[i];
        value->length = model->is_single[i] ? 1 : 1 + draw(model, LENGTH_MAX);
        for (size_t j = 0; j < value->length; j++) {
            value->x[j] = draw(model, UINT64_MAX);
        }
        CHECK(manta_graph_set(graph, model->edge[i], value->x, value->length * 8) == MANTA_OK);
    }
    return 0;
}

static int check_outputs(const struct model *model, const manta_ref *refs)
{
    for (uint32_t i = 0; i < model->outputs; i++) {
        const struct value_model *value = &model->now[model->output[i]];
        const void *data;
        size_t bytes;
        CHECK(manta_view(refs[i], &data, &bytes) == MANTA_OK);
        CHECK(bytes == value->length * 8 && memcmp(data, value->x, bytes) == 0);
        CHECK(manta_unview(refs[i]) == MANTA_OK);
        CHECK(manta_drop(refs[i]) == MANTA_OK);
    }
    if (!model->outputs) {
        CHECK(manta_get(refs[0], NULL, 0) == MANTA_OK);
    }
    return 0;
}

static uint64_t graph_seed; /* of the world that runs */

static int random_graphs(int argc, char **argv)
{
    static struct model model;
    manta_graph *graph;
    manta_ref refs[2][OUTPUTS_MAX];
    memset(&model, 0, sizeof model);
    model.seed = graph_seed * 7919;
    CHECK(manta_graph_create(draw(&model, 2) ? MANTA_CYCLIC : MANTA_BLOCKS, &graph) == MANTA_OK);
    draw_model(&model, graph);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    for (int i = 0; i < 3; i++) {
        uint64_t rounds = 1 + draw(&model, 20), more = 1 + draw(&model, 3);
        CHECK(set_inputs(&model, graph) == 0);
        for (uint32_t j = 1; j <= model.inputs; j++) {
            model.before[VALUES_MAX - j] = model.now[j];
        }
        CHECK(manta_graph_launch(graph, rounds, refs[0]) == MANTA_OK);
        CHECK(manta_graph_launch(graph, more, refs[1]) == MANTA_OK);
        reference(&model, rounds);
        CHECK(check_outputs(&model, refs[0]) == 0);
        for (uint32_t j = 1; j <= model.inputs; j++) {
            model.now[j] = model.before[VALUES_MAX - j];
        }
        reference(&model, more);
        CHECK(check_outputs(&model, refs[1]) == 0);
    }
    manta_graph_destroy(graph);
    return 0;
}

static void run_random(struct world_options options, uint64_t fallback)
{
    uint64_t first, count;
    world_seeds(fallback, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_result result;
        graph_seed = options.seed = seed;
        options.ranks = 1 + (uint32_t)(mix(seed) % 7);
        options.workers = 1 + (uint32_t)(mix(seed + 1) % 3);
        options.node_ranks = options.kills + options.faults ? 0 : (uint32_t)(mix(seed + 2) % 3);
        assert_int_equal(world_run(&options, random_graphs, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    }
}

static void test_random_graphs_give_what_a_serial_run_gives(void **state)
{
    run_random((struct world_options){0}, 300);
}

static void test_random_graphs_do_so_over_deaths(void **state)
{
    run_random((struct world_options){.kills = 1, .kill_within_ns = 60000}, 200);
    run_random((struct world_options){.kills = 3, .kill_within_ns = 300000}, 200);
}

/* ---- Promises, one by one ------------------------------------------------------------------- */

/* Fails in its round when asked to. */
MANTA_TASK(g_count, in(int64_t, x), val(int64_t, bad), val(uint64_t, work_ns), out(int64_t, y))
{
    core_work(work_ns);
    *y = x[0] + 1;
    return x[0] == bad ? manta_fail(5, "%lld is bad", (long long)bad) : MANTA_OK;
}

MANTA_TASK(g_bytes, in(char, text), out(int64_t, length))
{
    *length = (int64_t)text_len;
    return MANTA_OK;
}

MANTA_TASK(g_too_much, in(int64_t, x), outv(int64_t, ys))
{
    return manta_outv_alloc(ys, 1u << 20) ? MANTA_OK : manta_last_error()->code;
}

MANTA_TASK(g_not_a_leaf, in(int64_t, x), out(int64_t, codes))
{
    int64_t value = 1;
    manta_ref ref = manta_put(&value, sizeof value);
    manta_world world;
    *codes = (ref.parent == 0) + 2 * (manta_last_error()->code == MANTA_E_STATE) +
             4 * (square_async(NULL, 3).parent == 0) +
             8 * (manta_get(ref, &value, sizeof value) == MANTA_E_STATE) +
             16 * (manta_world_get(&world) == MANTA_OK) + 32 * error_says("recorded task");
    return MANTA_OK;
}

MANTA_TASK(g_endless, in(int64_t, x), out(int64_t, y))
{
    while (!manta_cancelled()) {
        core_work(1000);
    }
    return 1;
}

MANTA_TASK(makes_a_graph, out(int32_t, code))
{
    manta_graph *graph;
    *code = manta_graph_create(MANTA_BLOCKS, &graph);
    return MANTA_OK;
}

/* x counts up in a ring of `nodes`, placed in turn; its edges come back. */
static manta_ref count_graph(manta_graph *graph, int nodes, int64_t bad, uint64_t work_ns,
                             manta_ref *ret_input)
{
    manta_ref x = *ret_input = manta_graph_input(graph, sizeof(int64_t));
    for (int i = 0; i < nodes; i++) {
        x = g_count_async(
            MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON((uint32_t)i % world_size())), x, bad,
            work_ns);
    }
    manta_graph_feed(graph, x, *ret_input);
    manta_graph_output(graph, x);
    return x;
}

static int counted(manta_ref ref, int64_t expected)
{
    int64_t x;
    CHECK(manta_get(ref, &x, sizeof x) == MANTA_OK && x == expected);
    return 0;
}

/* Of more than a message's bytes for each rank. */
static int a_part_comes_in_several_pieces(int argc, char **argv)
{
    enum { NODES = 16000 };
    manta_graph *graph;
    manta_ref input, ref;
    int64_t start = 7;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    count_graph(graph, NODES, -1, 0, &input);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, &start, sizeof start) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 2, &ref) == MANTA_OK);
    CHECK(counted(ref, 7 + 2 * NODES) == 0);
    manta_graph_destroy(graph);
    return 0;
}

static int a_node_that_fails_is_named_and_the_next_launch_is_right(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref input, refs[3];
    int64_t start[] = {0, 1000, 5}, x;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    count_graph(graph, 5, 17, 0, &input);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(manta_graph_set(graph, input, &start[i], sizeof start[i]) == MANTA_OK);
        CHECK(manta_graph_launch(graph, 10, &refs[i]) == MANTA_OK);
    }
    CHECK(manta_get(refs[0], &x, sizeof x) == 5);
    CHECK(error_says("node 2 (g_count), round 3: 17 is bad"));
    CHECK(manta_last_error()->rank == 2 % world_size());
    CHECK(counted(refs[1], 1050) == 0);
    CHECK(manta_get(refs[2], &x, sizeof x) == 5 && error_says("node 2 (g_count), round 2"));
    manta_graph_destroy(graph);
    return 0;
}

/* Says why it could fail, and does not, or the other way round. */
MANTA_TASK(g_muse, in(int64_t, x), val(int32_t, fails), out(int64_t, y))
{
    *y = x[0];
    (void)(fails || manta_fail(5, "somebody else's reason"));
    return fails ? 5 : MANTA_OK;
}

static int a_node_that_fails_has_a_reason_of_its_own(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref ref;
    int64_t x = 1;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    manta_ref input = manta_graph_input(graph, sizeof x);
    manta_ref edge = g_muse_async(MANTA_OPTIONS(.graph = graph), input, 0);
    edge = g_muse_async(MANTA_OPTIONS(.graph = graph), edge, 1);
    (void)g_too_much_async(MANTA_OPTIONS(.graph = graph), edge);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, &x, sizeof x) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_OK);
    CHECK(manta_get(ref, NULL, 0) == 5);
    CHECK(error_says("node 1 (g_muse), round 0: it returned this code"));
    manta_graph_destroy(graph);
    return 0;
}

static int launches_queue_and_end_though_refs_and_graph_go_first(int argc, char **argv)
{
    manta_graph *graph, *other;
    manta_ref input, inputs, refs[20], more;
    int64_t zero = 0;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    CHECK(manta_graph_create(MANTA_CYCLIC, &other) == MANTA_OK);
    count_graph(graph, 3, -1, 500, &input);
    count_graph(other, 9, -1, 100, &inputs);
    CHECK(manta_graph_seal(graph) == MANTA_OK && manta_graph_seal(other) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, &zero, sizeof zero) == MANTA_OK);
    CHECK(manta_graph_set(other, inputs, &zero, sizeof zero) == MANTA_OK);
    for (uint64_t i = 0; i < 20; i++) {
        CHECK(manta_graph_launch(graph, 1 + i, &refs[i]) == MANTA_OK);
    }
    CHECK(manta_graph_launch(other, 11, &more) == MANTA_OK);
    manta_graph_destroy(graph);
    for (int64_t i = 0; i < 20; i++) {
        if (i % 3 == 0) {
            CHECK(manta_drop(refs[i]) == MANTA_OK);
        } else {
            CHECK(counted(refs[i], 3 * (1 + i)) == 0);
        }
    }
    CHECK(counted(more, 99) == 0);
    int64_t y; /* a launch's ref is one like any other */
    CHECK(increment_get(increment_async(NULL, more), &y) == MANTA_OK && y == 100);
    return 0;
}

static int a_launch_is_cancelled_running_or_waiting(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref refs[3];
    int64_t zero = 0, x;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    manta_ref input = manta_graph_input(graph, sizeof zero);
    const manta_options far = {.graph = graph, .rank = MANTA_ON(world_size() - 1)};
    manta_graph_output(graph, g_endless_async(&far, input));
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, &zero, sizeof zero) == MANTA_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(manta_graph_launch(graph, 1, &refs[i]) == MANTA_OK);
    }
    CHECK(manta_wait(refs, 3, 1, MS, NULL) == MANTA_E_TIMEOUT);
    CHECK(manta_cancel(refs[1]) == MANTA_OK);
    CHECK(manta_get(refs[1], &x, sizeof x) == MANTA_E_CANCELLED);
    CHECK(error_says("cancelled while the launch waited for its turn"));
    CHECK(manta_cancel(refs[0]) == MANTA_OK);
    CHECK(manta_get(refs[0], &x, sizeof x) == MANTA_E_CANCELLED);
    CHECK(error_says("cancelled while the launch ran"));
    return 0; /* with one that runs */
}

static int leaves_may_not_submit_or_wait(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref ref;
    int64_t zero = 0;
    int32_t code;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    manta_ref input = manta_graph_input(graph, sizeof zero);
    const manta_options far = {.graph = graph, .rank = MANTA_ON(world_size() - 1)};
    manta_graph_output(graph, g_not_a_leaf_async(&far, input));
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, &zero, sizeof zero) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_OK);
    CHECK(counted(ref, 63) == 0);
    CHECK(makes_a_graph_get(makes_a_graph_async(NULL), &code) == MANTA_OK && code == MANTA_E_STATE);
    manta_graph_destroy(graph);
    return 0;
}

/* ---- Mistakes ------------------------------------------------------------------------------- */

typedef void mistake(manta_graph *graph, manta_ref input, manta_ref edge);

static void foreign_ref(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_count_async(MANTA_OPTIONS(.graph = graph), square_async(NULL, 1), 0, 0);
}
static void zero_ref(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_count_async(MANTA_OPTIONS(.graph = graph, .name = "left half"), (manta_ref){0}, 0, 0);
}
static void wrong_option(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_count_async(MANTA_OPTIONS(.graph = graph, .retries = 1), input, 0, 0);
}
static void wrong_rank(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_count_async(MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON(99)), input, 0, 0);
}
static void wrong_size(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_count_async(MANTA_OPTIONS(.graph = graph), manta_graph_input(graph, 12), 0, 0);
}
MANTA_TASK(g_real, out(char, y))
{
    *y = 1;
    return MANTA_OK;
}
static void wrong_type(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_count_async(MANTA_OPTIONS(.graph = graph), g_real_async(MANTA_OPTIONS(.graph = graph)),
                        0, 0);
}
MANTA_TASK(g_refs, ref(x), out(int64_t, y))
{
    return MANTA_OK;
}
static void wrong_kind(manta_graph *graph, manta_ref input, manta_ref edge)
{
    (void)g_refs_async(MANTA_OPTIONS(.graph = graph), input);
}
static void fed_with_an_input(manta_graph *graph, manta_ref input, manta_ref edge)
{
    manta_graph_feed(graph, input, input);
}
static void fed_edge(manta_graph *graph, manta_ref input, manta_ref edge)
{
    manta_graph_feed(graph, edge, edge);
}
static void fed_twice(manta_graph *graph, manta_ref input, manta_ref edge)
{
    manta_graph_feed(graph, edge, input);
    manta_graph_feed(graph, edge, input);
}
static void fed_with_less(manta_graph *graph, manta_ref input, manta_ref edge)
{
    manta_graph_feed(graph, g_real_async(MANTA_OPTIONS(.graph = graph)), input);
}
static void output_of_an_input(manta_graph *graph, manta_ref input, manta_ref edge)
{
    manta_graph_output(graph, input);
}
static void output_twice(manta_graph *graph, manta_ref input, manta_ref edge)
{
    manta_graph_output(graph, edge);
    manta_graph_output(graph, edge);
}

static int mistakes_are_told_when_sealing(int argc, char **argv)
{
    static const struct {
        mistake *make;
        int code;
        const char *text;
    } mistakes[] = {
        {foreign_ref, MANTA_E_INVALID, "node 1 (g_count): argument x is no edge of this graph"},
        {zero_ref, MANTA_E_INVALID, "node 1 (left half): argument x"},
        {wrong_option, MANTA_E_INVALID, "node 1 (g_count): of the options only"},
        {wrong_rank, MANTA_E_INVALID, "rank 99 was asked for"},
        {wrong_size, MANTA_E_TYPE, "node 1 (g_count): argument x is read as int64_t, 8 bytes"},
        {wrong_type, MANTA_E_TYPE, "node 2 (g_count): argument x"},
        {wrong_kind, MANTA_E_INVALID, "node 1 (g_refs): parameter x"},
        {fed_with_an_input, MANTA_E_INVALID, "manta_graph_feed: the edge is an input"},
        {fed_edge, MANTA_E_INVALID, "manta_graph_feed: what is fed is no input"},
        {fed_twice, MANTA_E_INVALID, "the input is fed already, by node 0 (g_count)"},
        {fed_with_less, MANTA_E_TYPE, "node 1 (g_real) gives 1 bytes, the input has 8"},
        {output_of_an_input, MANTA_E_INVALID, "manta_graph_output: the edge is an input"},
        {output_twice, MANTA_E_INVALID, "the edge is output 0 already"},
    };
    for (size_t i = 0; i < MT_COUNT(mistakes); i++) {
        manta_graph *graph;
        manta_ref ref;
        CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
        manta_ref input = manta_graph_input(graph, sizeof(int64_t));
        manta_ref edge = g_count_async(MANTA_OPTIONS(.graph = graph), input, 0, 0);
        mistakes[i].make(graph, input, edge);
        CHECK(manta_graph_seal(graph) == mistakes[i].code);
        CHECK(error_says(mistakes[i].text));
        CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_E_STATE);
        manta_graph_destroy(graph);
    }
    return 0;
}

static int calls_in_the_wrong_order_or_with_bad_arguments_are_refused(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref ref, input;
    int64_t x = 0;
    CHECK(manta_graph_create((manta_pattern)7, &graph) == MANTA_E_INVALID);
    CHECK(manta_graph_create(MANTA_BLOCKS, NULL) == MANTA_E_INVALID);
    CHECK(manta_graph_seal(NULL) == MANTA_E_INVALID);
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    CHECK(manta_graph_seal(graph) == MANTA_E_INVALID && error_says("no nodes"));
    manta_graph_destroy(graph);
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    manta_ref edge = count_graph(graph, 2, -1, 0, &input);
    CHECK(manta_graph_set(graph, input, &x, sizeof x) == MANTA_E_STATE);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_E_STATE);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_seal(graph) == MANTA_E_STATE);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_E_INVALID && error_says("input 0"));
    CHECK(manta_graph_set(graph, input, &x, 4) == MANTA_E_TYPE);
    CHECK(manta_graph_set(graph, edge, &x, sizeof x) == MANTA_E_INVALID);
    CHECK(manta_graph_set(graph, input, NULL, sizeof x) == MANTA_E_INVALID);
    CHECK(manta_graph_set(graph, input, &x, MANTA_GRAPH_VALUE_MAX + 1) == MANTA_E_TOOBIG);
    CHECK(manta_graph_set(graph, input, &x, sizeof x) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 0, &ref) == MANTA_E_INVALID);
    CHECK(manta_graph_launch(graph, UINT32_MAX, &ref) == MANTA_E_INVALID);
    CHECK(manta_graph_launch(graph, 1, NULL) == MANTA_E_INVALID);
    CHECK(manta_get(edge, &x, sizeof x) == MANTA_E_INVALID && error_says("edge of a graph"));
    CHECK(g_count_async(MANTA_OPTIONS(.graph = graph), input, 0, 0).parent == 0);
    CHECK(error_says("sealed"));
    CHECK(increment_get(increment_async(NULL, edge), &x) != MANTA_OK);
    CHECK(square_map(MANTA_OPTIONS(.graph = graph), 3, 1).parent == 0);
    CHECK(manta_graph_launch(graph, 4, &ref) == MANTA_OK && counted(ref, 8) == 0);
    manta_graph_destroy(graph);
    manta_graph_destroy(NULL);
    return 0;
}

static int values_have_a_size_that_fits_or_the_node_is_named(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref ref;
    int64_t numbers[3] = {1, 2, 3}, x;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    manta_ref input = manta_graph_input(graph, 0);
    (void)g_count_async(MANTA_OPTIONS(.graph = graph), input, -1, 0);
    manta_graph_output(graph, g_bytes_async(MANTA_OPTIONS(.graph = graph), input));
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, numbers, sizeof numbers) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_OK && counted(ref, 24) == 0);
    CHECK(manta_graph_set(graph, input, numbers, 13) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_OK);
    CHECK(manta_get(ref, &x, sizeof x) == MANTA_E_TYPE);
    CHECK(error_says("node 0 (g_count), round 0: argument x is read as int64_t, 8 bytes each"));
    manta_graph_destroy(graph);
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    input = manta_graph_input(graph, 8);
    (void)g_too_much_async(MANTA_OPTIONS(.graph = graph), input);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, numbers, 8) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 1, &ref) == MANTA_OK);
    CHECK(manta_get(ref, NULL, 0) == MANTA_E_TOOBIG && error_says("node 0 (g_too_much)"));
    manta_graph_destroy(graph);
    return 0;
}

TEST(a_node_that_fails_is_named_and_the_next_launch_is_right)
TEST(a_node_that_fails_has_a_reason_of_its_own)
TEST(a_part_comes_in_several_pieces)
TEST(launches_queue_and_end_though_refs_and_graph_go_first)
TEST(a_launch_is_cancelled_running_or_waiting)
TEST(leaves_may_not_submit_or_wait)
TEST(mistakes_are_told_when_sealing)
TEST(calls_in_the_wrong_order_or_with_bad_arguments_are_refused)
TEST(values_have_a_size_that_fits_or_the_node_is_named)

/* ---- Deaths --------------------------------------------------------------------------------- */

/* Every node is on a rank that dies at some time. */
static int a_fourth_death_ends_the_launch_and_not_the_graph(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref input, refs[2];
    int64_t zero = 0, x;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    count_graph(graph, 7, -1, 1000, &input);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    CHECK(manta_graph_set(graph, input, &zero, sizeof zero) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 100000, &refs[0]) == MANTA_OK);
    CHECK(manta_graph_launch(graph, 10, &refs[1]) == MANTA_OK);
    for (uint32_t i = 1; i <= 4; i++) {
        CHECK(manta_wait(refs, 1, 1, 5 * MS, NULL) == MANTA_E_TIMEOUT);
        world_kill(i);
    }
    CHECK(manta_get(refs[0], &x, sizeof x) == MANTA_E_CRASH && error_says("rank 4 died"));
    CHECK(counted(refs[1], 70) == 0);
    manta_graph_destroy(graph);
    return 0;
}

static void test_a_fourth_death_ends_the_launch_and_not_the_graph(void **state)
{
    struct world_options options = {.ranks = 7, .will_kill = true};
    for (options.seed = 1; options.seed <= 5; options.seed++) {
        struct world_result result;
        assert_int_equal(
            world_run(&options, a_fourth_death_ends_the_launch_and_not_the_graph, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    }
}

static void test_random_graphs_do_so_over_faults_of_any_kind(void **state)
{
    run_random((struct world_options){.faults = 3, .kill_within_ns = 200000}, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs_give_what_a_serial_run_gives),
        cmocka_unit_test(test_random_graphs_do_so_over_deaths),
        cmocka_unit_test(test_random_graphs_do_so_over_faults_of_any_kind),
        cmocka_unit_test(test_a_fourth_death_ends_the_launch_and_not_the_graph),
        ENTRY(a_part_comes_in_several_pieces)
            ENTRY(a_node_that_fails_is_named_and_the_next_launch_is_right)
                ENTRY(a_node_that_fails_has_a_reason_of_its_own)
                    ENTRY(launches_queue_and_end_though_refs_and_graph_go_first)
                        ENTRY(a_launch_is_cancelled_running_or_waiting) ENTRY(
                            leaves_may_not_submit_or_wait) ENTRY(mistakes_are_told_when_sealing)
                            ENTRY(calls_in_the_wrong_order_or_with_bad_arguments_are_refused)
                                ENTRY(values_have_a_size_that_fits_or_the_node_is_named)};
    return cmocka_run_group_tests_name("graphs", tests, NULL, NULL);
}
