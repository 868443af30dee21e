/*
 * A job for the timeline: bodies here and on other ranks, on top of others and put aside, and a
 * map; with "graph" a recorded graph and nothing else. At its end each rank prints what its
 * counters say. With the name of a file a body kills its rank the first time, some time after it
 * has begun, and creates the file before.
 */
#include <manta/graph.h>
#include <manta/manta.h>

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 500, NODES = 4, ROUNDS = 25, LONGER_THAN_A_FLUSH_US = 300000 };

MANTA_TASK(leaf, val(int64_t, x), out(int64_t, y))
{
    *y = x + 1;
    return MANTA_OK;
}

MANTA_TASK(node, in(int64_t, x), out(int64_t, y))
{
    *y = *x + 1;
    return MANTA_OK;
}

MANTA_TASK(branch, val(int64_t, depth), out(int64_t, y))
{
    manta_world world;
    int64_t a = 0, b = 0;
    MANTA_TRY(manta_world_get(&world));
    if (depth > 0) {
        uint32_t other = (world.rank + 1) % world.size;
        manta_ref left = branch_async(MANTA_OPTIONS(.rank = MANTA_ON(other)), depth - 1);
        manta_ref right = branch_async(NULL, depth - 1);
        MANTA_TRY(branch_get(left, &a));
        MANTA_TRY(branch_get(right, &b));
    }
    *y = a + b + 1;
    return MANTA_OK;
}

MANTA_TASK(dies, text(path))
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0) {
        usleep(LONGER_THAN_A_FLUSH_US);
        raise(SIGKILL);
    }
    return MANTA_OK;
}

static int tell(void *arg)
{
    manta_world world;
    manta_stats stats;
    char line[256];
    MANTA_TRY(manta_world_get(&world));
    MANTA_TRY(manta_stats_get(&stats));
    int size = snprintf(
        line, sizeof line,
        "rank %u executed %" PRIu64 " parked %" PRIu64 " sent %" PRIu64 " received %" PRIu64 "\n",
        world.rank, stats.executed, stats.parked, stats.messages_sent, stats.messages_received);
    return write(STDOUT_FILENO, line, (size_t)size) == size ? 0 : 1;
}

/* A chain over the ranks, whose last value is the first one's of the next round. */
static int drive_graph(void)
{
    manta_graph *graph;
    manta_ref result;
    manta_world world;
    int64_t x = 0;
    MANTA_TRY(manta_world_get(&world));
    MANTA_TRY(manta_graph_create(MANTA_CYCLIC, &graph));
    manta_ref input = manta_graph_input(graph, sizeof x), edge = input;
    for (int i = 0; i < NODES; i++) {
        uint32_t rank = (uint32_t)i % world.size;
        edge = node_async(MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON(rank)), edge);
    }
    manta_graph_feed(graph, edge, input);
    manta_graph_output(graph, edge);
    MANTA_TRY(manta_graph_seal(graph));
    MANTA_TRY(manta_graph_set(graph, input, &x, sizeof x));
    MANTA_TRY(manta_graph_launch(graph, ROUNDS, &result));
    MANTA_TRY(manta_get(result, &x, sizeof x));
    manta_graph_destroy(graph);
    return x == NODES * ROUNDS ? 0 : 1;
}

static int drive(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "graph") == 0) {
        return drive_graph();
    }
    manta_ref refs[MANY];
    int64_t sum = 0, y;
    for (int64_t i = 0; i < MANY; i++) {
        refs[i] = leaf_async(NULL, i);
    }
    for (int i = 0; i < MANY; i++) {
        MANTA_TRY(leaf_get(refs[i], &y));
        sum += y;
    }
    MANTA_TRY(branch_get(branch_async(NULL, 6), &y));
    sum += y;
    manta_ref map = leaf_map(NULL, MANY, 0);
    MANTA_TRY(manta_wait(&map, 1, 1, MANTA_FOREVER, NULL));
    if (argc > 1) {
        manta_ref ref = dies_async(MANTA_OPTIONS(.priority = 1), argv[1]);
        MANTA_TRY(dies_get(ref));
    }
    return sum == MANY * (MANY + 1) / 2 + 127 ? 0 : 1;
}

int main(int argc, char **argv)
{
    manta_hook(MANTA_AT_STOP, tell, NULL);
    return manta_run(argc, argv, drive);
}
