/*
 * Short external commands, two at a time: `true` through the spawner, with its output captured
 * and logged, against a bare posix_spawn and wait loop of the same process in the same minute.
 * And the same for isolated functions, which are forked instead.
 */
#include "bench.h"
#include "posix.h"

#include "spawn/spawn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AT_ONCE = 2, COUNT = 1000, COUNT_QUICK = 300, HYPERQUEUE_RATE = 400 };

struct flow {
    struct spawn *spawn;
    uint32_t running, succeeded;
};

static int do_nothing(const void *bytes, size_t size, int reply_fd)
{
    return 0;
}

__attribute__((constructor)) static void enroll(void)
{
    spawn_set_isolated(do_nothing);
}

static void on_end(void *arg, const struct spawn_result *result)
{
    struct flow *flow = arg;
    flow->running--;
    flow->succeeded += result->end == SPAWN_ENDED_EXIT && result->exit_code == 0;
}

static int ask(struct flow *flow, bool is_isolated)
{
    static const char *const argv[] = {"true", NULL};
    const struct spawn_done done = {.ended = on_end, .arg = flow};
    const struct spawn_limits limits = {.tail_bytes = 1024};
    flow->running++;
    return is_isolated
               ? spawn_isolated(flow->spawn, &(struct spawn_isolated){.limits = limits}, &done,
                                NULL, NULL)
               : spawn_command(flow->spawn, &(struct spawn_command){.argv = argv, .limits = limits},
                               &done, NULL, NULL);
}

static double spawner_rate(struct spawn *spawn, uint32_t count, bool is_isolated)
{
    struct flow flow = {.spawn = spawn};
    uint64_t begin_ns = bench_now_ns();
    for (uint32_t asked = 0; asked < count || flow.running;) {
        if (asked < count && flow.running < AT_ONCE) {
            if (ask(&flow, is_isolated) != MANTA_OK) {
                return 0;
            }
            asked++;
        } else {
            spawn_poll(spawn, BASE_FOREVER);
        }
    }
    return flow.succeeded == count ? count * 1e9 / (double)(bench_now_ns() - begin_ns) : 0;
}

struct figures {
    struct bench_series commands, bare, ratio, isolated;
};

/* False when something did not succeed. */
static bool measure(struct spawn *spawn, uint32_t points, uint32_t count, struct figures *figures)
{
    for (uint32_t i = 0; i < points; i++) {
        double bare = posix_rate(count, AT_ONCE), commands = spawner_rate(spawn, count, false);
        double isolated = spawner_rate(spawn, count, true);
        if (bare <= 0 || commands <= 0 || isolated <= 0) {
            return false;
        }
        bench_add(&figures->bare, bare);
        bench_add(&figures->commands, commands);
        bench_add(&figures->ratio, commands / bare);
        bench_add(&figures->isolated, isolated);
    }
    return true;
}

static void print_all(struct bench *bench, const struct figures *figures)
{
    bench_print(bench, &(struct bench_row){.metric = "commands/s, 2 at a time",
                                           .unit = "/s",
                                           .series = &figures->commands,
                                           .peer_name = "posix_spawn",
                                           .peer = &figures->bare,
                                           .goal_kind = BENCH_AT_LEAST,
                                           .goal = 3 * HYPERQUEUE_RATE});
    bench_print(bench, &(struct bench_row){.metric = "the same, in rates of posix_spawn",
                                           .unit = "x",
                                           .series = &figures->ratio,
                                           .goal_kind = BENCH_AT_LEAST,
                                           .goal = 0.6});
    bench_print(bench, &(struct bench_row){.metric = "isolated functions/s, 2 at a time",
                                           .unit = "/s",
                                           .series = &figures->isolated,
                                           .peer_name = "posix_spawn",
                                           .peer = &figures->bare});
}

static int run(struct bench *bench, const char *log_path)
{
    static struct figures figures;
    struct spawn *spawn = NULL;
    manta_error error = {0};
    const struct spawn_options options = {.host = &base_host_real, .log_path = log_path};
    if (spawn_create(&options, &spawn, &error) != MANTA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    bool is_whole = measure(spawn, bench->points > 9 ? 9 : bench->points,
                            bench->is_quick ? COUNT_QUICK : COUNT, &figures);
    spawn_destroy(spawn);
    if (is_whole) {
        print_all(bench, &figures);
    } else {
        fprintf(stderr, "a command did not succeed\n");
    }
    return is_whole ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct bench bench;
    char folder[] = "/tmp/bench_commands_XXXXXX", path[64], name[80];
    if (bench_open(&bench, "commands", argc, argv) != 0 || !mkdtemp(folder)) {
        return 1;
    }
    snprintf(path, sizeof path, "%s/log", folder);
    int rc = run(&bench, path);
    snprintf(name, sizeof name, "%s.data", path);
    unlink(name);
    snprintf(name, sizeof name, "%s.index", path);
    unlink(name);
    rmdir(folder);
    int closed = bench_close(&bench);
    return rc ? rc : closed;
}
