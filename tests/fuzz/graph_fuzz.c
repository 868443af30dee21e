/*
 * Fuzz target: recorded graphs among ranks that lie. Rank 0 is the shipped core with two workers;
 * it conducts a graph of its own, whose nodes are on all three ranks, and is a member of the graphs
 * of ranks 1 and 2, who send whatever the input says: parts, whole and damaged, in pieces that fit
 * and do not, launches, values, inputs, how far they are, results, failures, ends. Then they die.
 *
 * Whatever they sent, rank 0 reads and writes nothing that is not there, and when they are dead all
 * its launches end, with a result or an error, and with them the job.
 *
 * Input: operations of 8 bytes: kind and sender; whose graph; position; epoch; round; how far the
 * sender is; length; what is broken on purpose. Whoever sends a damaged part takes the byte and its
 * place from the 8 bytes that follow.
 */
#include "base/alloc.h"
#include "comm/sim.h"
#include "core/core.h"
#include "core/graph.h"
#include "core/message.h"
#include "core/registry.h"
#include "fuzz.h"

enum { RANKS = 3, OPERATIONS_MAX = 200, LAUNCHES = 3, PIECE = 300 };
/* A long body is one beside which messages are taken. */
enum { WORK_NS = 15000, LONG_WORK_NS = 1500000 };

struct operation {
    uint8_t kind, graph, position, epoch, round, done, length, broken;
};

struct input {
    const uint8_t *data;
    size_t size;
    struct sim *sim;
    uint8_t *part[RANKS]; /* for rank 0, of the graphs of the others */
    size_t part_bytes[RANKS];
    bool has_ended;
};

/* ---- Tasks: all that a node can read and make ----------------------------------------------- */

MANTA_TASK(graph_fixed, in(int64_t, x), text(name), span(int32_t, xs), out(int64_t, y))
{
    core_work(WORK_NS);
    *y = (x_len ? x[0] : 0) + (name ? (int64_t)strlen(name) : 0);
    for (size_t i = 0; i < xs_len; i++) {
        *y += xs[i];
    }
    return MANTA_OK;
}

MANTA_TASK(graph_row, in(int64_t, x), in(int64_t, row), outv(int64_t, next))
{
    size_t count = row_len % 64 + 1;
    int64_t *out = manta_outv_alloc(next, count);
    core_work(row_len % 4 == 2 ? LONG_WORK_NS : WORK_NS);
    for (size_t i = 0; out && i < count; i++) {
        out[i] = (x_len ? x[0] : 0) + (i < row_len ? row[i] : 0);
    }
    return x_len && x[0] == 99 ? manta_fail(9, "99") : MANTA_OK;
}

MANTA_TASK(graph_change, inout(int64_t, row))
{
    core_work(WORK_NS);
    for (size_t i = 0; i < row_len; i++) {
        row[i]++;
    }
    return MANTA_OK;
}

/* Records on each rank a few nodes that read each other's values and are fed. */
static void record(manta_graph *graph, manta_ref *ret_fixed, manta_ref *ret_row)
{
    static const int32_t xs[] = {1, 2};
    manta_ref x = manta_graph_input(graph, sizeof(int64_t)), row = manta_graph_input(graph, 0);
    manta_ref y = x, next = row;
    *ret_fixed = x;
    *ret_row = row;
    for (uint32_t i = 0; i < 2 * RANKS; i++) {
        const manta_options on = {.graph = graph, .rank = MANTA_ON(i % RANKS)};
        y = graph_fixed_async(&on, y, i % 2 ? "name" : NULL, xs, 2);
        next = graph_change_async(&on, graph_row_async(&on, y, next));
    }
    manta_graph_feed(graph, y, x);
    manta_graph_feed(graph, next, row);
    manta_graph_output(graph, y);
    manta_graph_output(graph, next);
}

/* ---- Those who lie -------------------------------------------------------------------------- */

static void ignore_message(void *owner, uint32_t from, const struct wire_header *header,
                           const void *body)
{
}

static void ignore_death(void *owner, uint32_t peer)
{
}

/* Rank 0's is its second. */
static uint64_t id_of(uint32_t rank)
{
    return GRAPH_ID_BITS | (rank ? UINT64_C(1) : UINT64_C(2)) << 32 | rank;
}

static void send_body(struct comm *comm, enum message_kind kind, const struct operation *what,
                      const void *body, size_t bytes)
{
    struct wire_header *header = comm_prepare(comm, 0, bytes);
    if (header) {
        header->parent = id_of(what->graph % RANKS);
        header->position = what->position;
        header->token = what->epoch;
        header->kind = (uint8_t)kind;
        memcpy(comm_body(header), body, bytes);
        comm_commit(comm);
    }
}

/* Broken: 1 damaged, 2 a piece left out, 4 a piece twice, 8 says that there is more, 16 that it is
 * vast, 32 cut off. */
static void send_part(const struct input *input, struct comm *comm, uint32_t sender,
                      const struct operation *what, const uint8_t *damage)
{
    uint8_t piece[sizeof(struct message_graph_part) + PIECE], bytes[4096];
    size_t size = MT_MIN(input->part_bytes[sender], sizeof bytes);
    struct message_graph_part head = {.total = size + (what->broken & 8 ? what->length : 0)};
    head.total = what->broken & 16 ? UINT64_C(1) << (what->length % 64) : head.total;
    memcpy(bytes, input->part[sender], size);
    for (int i = 0; damage && i < 8; i += 4) {
        bytes[(damage[i] | (size_t)damage[i + 1] << 8) % size] ^= damage[i + 2];
    }
    size -= what->broken & 32 ? MT_MIN(size, (size_t)what->length) : 0;
    for (size_t at = 0; at < size; at += PIECE) {
        size_t here = MT_MIN(size - at, (size_t)PIECE);
        head.offset = at;
        memcpy(piece, &head, sizeof head);
        memcpy(piece + sizeof head, bytes + at, here);
        bool is_odd = at / PIECE == what->length % 4u;
        for (int i = 0; i < (is_odd && what->broken & 2   ? 0
                             : is_odd && what->broken & 4 ? 2
                                                          : 1);
             i++) {
            send_body(comm, MESSAGE_GRAPH_PART, what, piece, sizeof head + here);
        }
    }
}

static void send_value(struct comm *comm, const struct operation *what)
{
    uint8_t body[2 * sizeof(uint32_t) + 8 * 255];
    size_t bytes = what->broken & 1 ? what->length : 8 * (size_t)what->length;
    uint8_t *at = body;
    wire_put_u32(&at, what->broken & 2 ? what->round - 1u : what->round);
    wire_put_u32(&at, what->broken & 4 ? UINT32_MAX - what->done : what->done);
    memset(at, what->broken & 8 ? 99 : 1, bytes);
    send_body(comm, MESSAGE_GRAPH_VALUE, what, body, 2 * sizeof(uint32_t) + bytes);
}

/* Of any other kind: its number, then whatever. */
static void send_word(struct comm *comm, const struct operation *what)
{
    static const enum message_kind kinds[] = {
        MESSAGE_GRAPH_LAUNCH, MESSAGE_GRAPH_TOLD,  MESSAGE_GRAPH_READY, MESSAGE_GRAPH_RESULT,
        MESSAGE_GRAPH_FAILED, MESSAGE_GRAPH_ENDED, MESSAGE_GRAPH_STOP,  MESSAGE_GRAPH_DROP};
    uint8_t body[256] = {0};
    uint32_t word = what->broken & 1 ? UINT32_MAX - what->round : what->round;
    memset(body, what->done, sizeof body);
    memcpy(body, &word, sizeof word);
    send_body(comm, kinds[(what->kind >> 3) % MT_COUNT(kinds)], what, body, what->length);
}

static void send_main(struct input *input, uint32_t number)
{
    struct comm *comm = sim_comm(input->sim, number);
    const struct base_host *host = sim_host(input->sim, number);
    struct comm_sink sink = {ignore_message, ignore_death, NULL};
    struct operation what;
    comm_set_sink(comm, &sink);
    host->work(host->self, 20000);
    size_t at = 0;
    for (int i = 0; i < OPERATIONS_MAX && at + sizeof what <= input->size; i++) {
        memcpy(&what, input->data + at, sizeof what);
        at += sizeof what;
        bool is_part = (what.kind >> 1) % 4 == 0;
        bool is_damaged = is_part && what.broken & 1 && at + 8 <= input->size;
        const uint8_t *damage = is_damaged ? input->data + at : NULL;
        at += is_damaged ? 8 : 0;
        if (1u + (what.kind & 1u) == number) {
            if (is_part) {
                send_part(input, comm, number, &what, damage);
            } else if ((what.kind >> 1) % 4 == 1) {
                send_word(comm, &what);
            } else {
                send_value(comm, &what);
            }
        }
        comm_flush(comm);
        host->work(host->self, 3000);
        while (comm_progress(comm, 64)) {}
    }
}

static void first_sender(void *input)
{
    send_main(input, 1);
}

static void second_sender(void *input)
{
    send_main(input, 2);
}

static void kill_senders(void *arg)
{
    struct input *input = arg;
    sim_kill(input->sim, 1);
    sim_kill(input->sim, 2);
}

/* ---- The rank under test -------------------------------------------------------------------- */

static void drive(void)
{
    manta_graph *graph;
    manta_ref fixed, row, refs[LAUNCHES][2];
    const int64_t start[3] = {1, 2, 3};
    HOLDS(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    record(graph, &fixed, &row);
    HOLDS(manta_graph_seal(graph) == MANTA_OK);
    HOLDS(manta_graph_set(graph, fixed, start, sizeof start[0]) == MANTA_OK);
    HOLDS(manta_graph_set(graph, row, start, sizeof start) == MANTA_OK);
    for (int i = 0; i < LAUNCHES; i++) {
        HOLDS(manta_graph_launch(graph, 3, refs[i]) == MANTA_OK);
    }
    for (int i = 0; i < LAUNCHES; i++) {
        (void)manta_wait(refs[i], 2, 2, MANTA_FOREVER, NULL);
    }
    manta_graph_destroy(graph);
}

/* What a rank with a graph like ours would send to rank 0. */
static void make_parts(struct input *input, manta_graph *graph)
{
    static const uint8_t down[RANKS] = {0};
    for (uint32_t i = 1; i < RANKS; i++) {
        struct plan_cut cut;
        HOLDS(plan_cut(&graph->plan, down, function_hash, &cut) == MANTA_OK);
        input->part[i] = cut.parts[0];
        input->part_bytes[i] = cut.part_bytes[0];
        cut.parts[0] = NULL;
        plan_cut_fini(&cut);
    }
}

static void rank_main(void *arg)
{
    struct input *input = arg;
    struct rank *rank;
    manta_error error;
    manta_graph *like;
    manta_ref edges[2];
    struct core_options options = {.host = sim_host(input->sim, 0),
                                   .comm = sim_comm(input->sim, 0),
                                   .workers = 2,
                                   .cores = 2,
                                   .node_ranks = RANKS,
                                   .host_name = "virtual",
                                   .stack_bytes = 64 * 1024};
    HOLDS(core_rank_create(&options, &rank, &error) == MANTA_OK);
    HOLDS(core_attach(rank) == MANTA_OK);
    HOLDS(manta_graph_create(MANTA_BLOCKS, &like) == MANTA_OK);
    record(like, &edges[0], &edges[1]);
    HOLDS(plan_check(&like->plan) == MANTA_OK);
    make_parts(input, like);
    manta_graph_destroy(like);
    drive();
    core_detach(rank);
    (void)core_finish(rank, 0);
    input->has_ended = true;
    core_rank_destroy(rank);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_options options = {.seed = 1,
                                  .ranks = RANKS,
                                  .time_limit_ns = UINT64_C(100000000),
                                  .detect_min_ns = 1000,
                                  .detect_max_ns = 20000};
    struct input input = {.data = data, .size = size, .sim = sim_create(&options)};
    HOLDS(input.sim);
    sim_set_switch_hook(input.sim, core_context_slot());
    HOLDS(sim_start(input.sim, 0, rank_main, &input) == 0);
    HOLDS(sim_start(input.sim, 1, first_sender, &input) == 0);
    HOLDS(sim_start(input.sim, 2, second_sender, &input) == 0);
    HOLDS(sim_at(input.sim, 5000000, kill_senders, &input) == 0);
    HOLDS(sim_run(input.sim) == MANTA_OK && input.has_ended);
    sim_destroy(input.sim);
    for (uint32_t i = 0; i < RANKS; i++) {
        base_free(input.part[i]);
    }
    return 0;
}
