/*
 * A recorded graph over real ranks: columns that read their own and their left neighbour's last
 * value, launched several times, with small values and large ones; all bytes have to be those of a
 * loop, and of plain tasks. With a file's name, the last rank ends its own process in the middle of
 * a launch, once; with "fails" a node fails; with "slow" a launch takes over a second, and
 * "running" is printed when it may be disturbed. Rank 0 prints "right", or the error.
 *
 *     graphs [FILE | fails | slow]
 */
#include <fcntl.h>
#include <manta/graph.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COLUMNS = 8, ROUNDS = 2000, LAUNCHES = 3, DEADLY_ROUND = 700, PLAIN_ROUNDS = 100 };
enum { LONG = 20000, SLOW_US = 500 };

struct cell {
    int64_t round, x;
};

/* The first time. */
static void die_once(const char *file)
{
    int fd = *file ? open(file, O_CREAT | O_EXCL | O_WRONLY, 0600) : -1;
    if (fd >= 0) {
        close(fd);
        kill(getpid(), SIGKILL);
    }
}

static struct cell combine(struct cell own, struct cell left)
{
    return (struct cell){own.round + 1, (own.x * 31 + left.x * 17 + own.round) % 1000003};
}

MANTA_TASK(advance, in(struct cell, own), in(struct cell, left), val(int, column), text(file),
           out(struct cell, next))
{
    if (strcmp(file, "slow") == 0) {
        usleep(SLOW_US);
    } else if (column == COLUMNS - 1 && own->round == DEADLY_ROUND) {
        if (strcmp(file, "fails") == 0) {
            return manta_fail(7, "as asked");
        }
        die_once(file);
    }
    if (own->round != left->round) {
        return manta_fail(8, "round %lld met round %lld", (long long)own->round,
                          (long long)left->round);
    }
    *next = combine(*own, *left);
    return MANTA_OK;
}

/* A row of LONG elements goes round by round to the neighbour. */
MANTA_TASK(shift, in(int64_t, row), outv(int64_t, next))
{
    int64_t *out = manta_outv_alloc(next, row_len);
    for (size_t i = 0; out && i < row_len; i++) {
        out[i] = row[(i + 1) % row_len] + 1;
    }
    return out ? MANTA_OK : MANTA_E_NOMEM;
}

static void by_a_loop(int64_t rounds, struct cell *now)
{
    struct cell next[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        now[i] = (struct cell){0, i};
    }
    for (int64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < COLUMNS; i++) {
            next[i] = combine(now[i], now[(i + COLUMNS - 1) % COLUMNS]);
        }
        memcpy(now, next, sizeof next);
    }
}

static manta_options on(manta_graph *graph, int column, int columns)
{
    manta_world world;
    uint32_t size = manta_world_get(&world) == MANTA_OK ? world.size : 1;
    return (manta_options){.graph = graph,
                           .rank = MANTA_ON((uint32_t)column * size / (uint32_t)columns)};
}

static int by_plain_tasks(int64_t rounds, struct cell *cells)
{
    manta_ref now[COLUMNS], next[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        struct cell cell = {0, i};
        now[i] = manta_put(&cell, sizeof cell);
    }
    for (int64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < COLUMNS; i++) {
            next[i] = advance_async(NULL, now[i], now[(i + COLUMNS - 1) % COLUMNS], i, "");
        }
        memcpy(now, next, sizeof next);
    }
    for (int i = 0; i < COLUMNS; i++) {
        MANTA_TRY(manta_get(now[i], &cells[i], sizeof cells[i]));
    }
    return MANTA_OK;
}

static int check_columns(const manta_ref *results, const struct cell *wanted)
{
    for (int i = 0; i < COLUMNS; i++) {
        struct cell cell;
        MANTA_TRY(manta_get(results[i], &cell, sizeof cell));
        if (memcmp(&cell, &wanted[i], sizeof cell) != 0) {
            return 1;
        }
    }
    return MANTA_OK;
}

static int make_columns(const char *file, manta_graph **ret_graph)
{
    manta_graph *graph;
    manta_ref now[COLUMNS], next[COLUMNS];
    MANTA_TRY(manta_graph_create(MANTA_BLOCKS, &graph));
    for (int i = 0; i < COLUMNS; i++) {
        now[i] = manta_graph_input(graph, sizeof(struct cell));
    }
    for (int i = 0; i < COLUMNS; i++) {
        const manta_options options = on(graph, i, COLUMNS);
        next[i] = advance_async(&options, now[i], now[(i + COLUMNS - 1) % COLUMNS], i, file);
        manta_graph_feed(graph, next[i], now[i]);
        manta_graph_output(graph, next[i]);
    }
    MANTA_TRY(manta_graph_seal(graph));
    for (int i = 0; i < COLUMNS; i++) {
        struct cell cell = {0, i};
        MANTA_TRY(manta_graph_set(graph, now[i], &cell, sizeof cell));
    }
    *ret_graph = graph;
    return MANTA_OK;
}

static int small_values(const char *file)
{
    manta_graph *graph;
    manta_ref results[LAUNCHES][COLUMNS], last[COLUMNS];
    struct cell wanted[COLUMNS];
    MANTA_TRY(make_columns(file, &graph));
    for (int i = 0; i < LAUNCHES; i++) {
        MANTA_TRY(manta_graph_launch(graph, ROUNDS + (uint64_t)i, results[i]));
    }
    MANTA_TRY(manta_graph_launch(graph, PLAIN_ROUNDS, last));
    if (strcmp(file, "slow") == 0) {
        printf("running\n");
        fflush(stdout);
    }
    for (int i = 0; i < LAUNCHES; i++) {
        by_a_loop(ROUNDS + i, wanted);
        MANTA_TRY(check_columns(results[i], wanted));
    }
    MANTA_TRY(by_plain_tasks(PLAIN_ROUNDS, wanted));
    MANTA_TRY(check_columns(last, wanted));
    manta_graph_destroy(graph);
    return MANTA_OK;
}

static int check_row(manta_ref ref, int64_t rounds)
{
    const void *data;
    size_t bytes;
    MANTA_TRY(manta_view(ref, &data, &bytes));
    bool is_right = bytes == LONG * sizeof(int64_t);
    for (int64_t i = 0; is_right && i < LONG; i++) {
        is_right = ((const int64_t *)data)[i] == (i + rounds) % LONG + rounds;
    }
    MANTA_TRY(manta_unview(ref));
    return is_right ? MANTA_OK : 2;
}

static int large_values(void)
{
    enum { STAGES = 4, TURNS = 50 };
    manta_graph *graph;
    manta_ref row, at, result;
    MANTA_TRY(manta_graph_create(MANTA_CYCLIC, &graph));
    row = at = manta_graph_input(graph, 0);
    for (int i = 0; i < STAGES; i++) {
        const manta_options options = on(graph, i, STAGES);
        at = shift_async(&options, at);
    }
    manta_graph_feed(graph, at, row);
    manta_graph_output(graph, at);
    MANTA_TRY(manta_graph_seal(graph));
    int64_t *values = malloc(LONG * sizeof *values);
    for (int64_t i = 0; values && i < LONG; i++) {
        values[i] = i;
    }
    int code = manta_graph_set(graph, row, values, LONG * sizeof *values);
    free(values);
    MANTA_TRY(code);
    MANTA_TRY(manta_graph_launch(graph, TURNS, &result));
    MANTA_TRY(check_row(result, STAGES * TURNS));
    manta_graph_destroy(graph);
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    int code = small_values(argc > 1 ? argv[1] : "");
    if (code == 7) {
        puts(manta_last_error()->text);
        return 0;
    }
    code = code ? code : large_values();
    puts(code == MANTA_OK ? "right" : "wrong");
    return code;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
