/*
 * Recorded graphs: what each call promises, mistakes, and random graphs against a serial
 * reference on virtual ranks, with deaths. world_check that after each run no record is left.
 */
#define TEST_NAME "graphs"
#include "behaviours.h"

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
        options.node_ranks = options.kills ? 0 : (uint32_t)(mix(seed + 2) % 3);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs_give_what_a_serial_run_gives),
        cmocka_unit_test(test_random_graphs_do_so_over_deaths),
    };
    return cmocka_run_group_tests_name("graphs", tests, NULL, NULL);
}
