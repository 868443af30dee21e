#include "world.h"

#include "base/alloc.h"
#include "base/compiler.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A killed rank frees nothing: that is what being killed means. Other worlds are checked for leaks. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define LEAKS_ARE_MEANT(enter, are_meant)                                                          \
    ((are_meant) ? (enter) ? __lsan_disable() : __lsan_enable() : (void)0)
#else
#define LEAKS_ARE_MEANT(enter, are_meant) (void)0
#endif

struct world;

struct member {
    struct world *world;
    uint32_t number;
    struct rank *rank;
    struct pretend *processes;
    int code;
};

struct kill {
    struct world *world;
    uint32_t victim;
};

struct world {
    const struct world_options *options;
    struct sim *sim;
    manta_driver driver;
    struct member *members;
    struct kill *kills;
    struct world_result result;
};

static void add_counts(struct core_counts *sum, const struct core_counts *one)
{
    sum->tasks += one->tasks;
    sum->runs += one->runs;
    sum->borrows += one->borrows;
    sum->scopes += one->scopes;
    sum->values += one->values;
    sum->maps += one->maps;
    sum->homes += one->homes;
}

static void add_stats(struct core_stats *sum, const struct core_stats *one)
{
    sum->submitted += one->submitted;
    sum->completed += one->completed;
    sum->executed += one->executed;
    sum->retried += one->retried;
    sum->adopted += one->adopted;
    sum->parked += one->parked;
    sum->inlined += one->inlined;
}

static void add_processes(struct pretend_counts *sum, const struct pretend_counts *one)
{
    sum->begun += one->begun;
    sum->ended += one->ended;
    sum->killed += one->killed;
    sum->lost += one->lost;
    sum->running += one->running;
    sum->most = one->most > sum->most ? one->most : sum->most;
}

static int start_rank(struct member *member)
{
    const struct world_options *options = member->world->options;
    struct core_options core = {.host = sim_host(member->world->sim, member->number),
                                .comm = sim_comm(member->world->sim, member->number),
                                .workers = options->workers ? options->workers : 1,
                                .cores = 1,
                                .node_ranks = options->ranks,
                                .host_name = "virtual",
                                .stack_bytes = 64 * 1024,
                                .window_max = options->window_max,
                                .parked_max = options->parked_max,
                                .processes = pretend_face(member->processes)};
    manta_error error;
    int code = core_rank_create(&core, &member->rank, &error);
    if (code == MANTA_OK) {
        pretend_set_core(member->processes, member->rank);
    } else {
        fprintf(stderr, "rank %u does not start: %s\n", member->number, error.text);
    }
    return code;
}

static void rank_main(void *arg)
{
    struct member *member = arg;
    char name[] = "driver", *argv[] = {name, NULL};
    member->code = start_rank(member);
    if (member->code != MANTA_OK) {
        return;
    }
    if (member->number == 0) {
        member->code = core_attach(member->rank);
        member->code = member->code ? member->code : member->world->driver(1, argv);
        member->world->result.exit_code = member->code;
        core_detach(member->rank);
    }
    (void)core_finish(member->rank, member->code);
    struct core_counts counts = core_count(member->rank);
    struct core_stats stats = core_get_stats(member->rank);
    add_counts(&member->world->result.left, &counts);
    add_stats(&member->world->result.total, &stats);
    struct pretend_counts processes = pretend_count(member->processes);
    add_processes(&member->world->result.processes, &processes);
    pretend_set_core(member->processes, NULL);
    core_rank_destroy(member->rank);
    member->rank = NULL;
}

static void kill_one(void *arg)
{
    struct kill *kill = arg;
    struct world *world = kill->world;
    if (sim_is_alive(world->sim, kill->victim) && world->members[0].rank) {
        sim_kill(world->sim, kill->victim);
        world->result.killed++;
    }
}

static void plan_kills(struct world *world)
{
    const struct world_options *options = world->options;
    for (uint32_t i = 0; i < options->kills && options->ranks > 1; i++) {
        world->kills[i] =
            (struct kill){world, (uint32_t)(1 + sim_draw(world->sim, options->ranks - 1))};
        (void)sim_at(world->sim, sim_draw(world->sim, options->kill_within_ns), kill_one,
                     &world->kills[i]);
    }
}

static int run_here(const struct world_options *options, manta_driver driver,
                    struct world_result *ret_result)
{
    struct sim_options sim = {.seed = options->seed,
                              .ranks = options->ranks,
                              .delay_max_ns = options->delay_max_ns,
                              .delay_min_ns = options->delay_max_ns ? 500 : 0};
    struct world world = {.options = options, .driver = driver};
    world.sim = sim_create(&sim);
    world.members = base_alloc(options->ranks * sizeof *world.members);
    world.kills = base_alloc((options->kills + 1) * sizeof *world.kills);
    if (!world.sim || !world.members || !world.kills) {
        return -1;
    }
    sim_set_switch_hook(world.sim, core_context_slot());
    for (uint32_t i = 0; i < options->ranks; i++) {
        world.members[i] =
            (struct member){.world = &world,
                            .number = i,
                            .processes = pretend_create(world.sim, i, options->lost_percent)};
        if (options->press_at_ns) {
            pretend_press_at(world.members[i].processes, options->press_at_ns);
        }
        if (sim_start(world.sim, i, rank_main, &world.members[i]) != 0) {
            return -1;
        }
    }
    plan_kills(&world);
    LEAKS_ARE_MEANT(true, options->kills > 0);
    world.result.sim_code = sim_run(world.sim);
    LEAKS_ARE_MEANT(false, options->kills > 0);
    for (uint32_t i = 0; world.result.sim_code != 0 && i < options->ranks; i++) {
        if (world.members[i].rank && sim_is_alive(world.sim, i)) {
            world_dump_rank(world.members[i].rank);
        }
    }
    world.result.trace = sim_trace_hash(world.sim);
    world.result.events = sim_event_count(world.sim);
    world.result.time_ns = sim_now_ns(world.sim);
    for (uint32_t i = 0; i < options->ranks; i++) {
        pretend_destroy(world.members[i].processes);
    }
    sim_destroy(world.sim);
    base_free(world.members);
    base_free(world.kills);
    *ret_result = world.result;
    return 0;
}

/* What a killed rank had is lost, as a dead process's memory is: here with the process that simulates it. */
static int run_apart(const struct world_options *options, manta_driver driver,
                     struct world_result *ret_result)
{
    struct world_result result;
    int ends[2], status = -1;
    if (pipe(ends) != 0) {
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        int code = run_here(options, driver, &result);
        bool is_told =
            code == 0 && write(ends[1], &result, sizeof result) == (ssize_t)sizeof result;
        _exit(is_told ? 0 : 1);
    }
    close(ends[1]);
    bool is_complete = child > 0 && read(ends[0], &result, sizeof result) == (ssize_t)sizeof result;
    close(ends[0]);
    if (child > 0) {
        waitpid(child, &status, 0);
    }
    if (!is_complete || status != 0) {
        fprintf(stderr, "seed %" PRIu64 ": the simulation itself ended with status %d\n",
                options->seed, status);
        return -1;
    }
    *ret_result = result;
    return 0;
}

int world_run(const struct world_options *options, manta_driver driver,
              struct world_result *ret_result)
{
    return (options->kills ? run_apart : run_here)(options, driver, ret_result);
}

static bool is_zero(const struct core_counts *counts)
{
    return !(counts->tasks | counts->runs | counts->borrows | counts->scopes | counts->values |
             counts->maps | counts->homes);
}

int world_check(const char *test, const struct world_options *options,
                const struct world_result *result)
{
    const struct core_counts *left = &result->left;
    if (result->sim_code == 0 && result->exit_code == 0 && is_zero(left) &&
        !result->processes.running) {
        return 0;
    }
    fprintf(stderr,
            "%s: seed %" PRIu64
            ", %u ranks, %u killed: simulator %s, driver %d; left: tasks %" PRIu64 " runs %" PRIu64
            " borrows %" PRIu64 " scopes %" PRIu64 " values %" PRIu64 " maps %" PRIu64
            " homes %" PRIu64 " processes %u\n"
            "replay: MANTA_SEED=%" PRIu64 " MANTA_SEEDS=1 meson test -C build '%s' --verbose\n",
            test, options->seed, options->ranks, result->killed, manta_error_name(result->sim_code),
            result->exit_code, left->tasks, left->runs, left->borrows, left->scopes, left->values,
            left->maps, left->homes, result->processes.running, options->seed, test);
    return 1;
}

void world_seeds(uint64_t fallback, uint64_t *ret_first, uint64_t *ret_count)
{
    const char *first = getenv("MANTA_SEED"), *count = getenv("MANTA_SEEDS");
    *ret_first = first ? strtoull(first, NULL, 10) : 1;
    *ret_count = count ? strtoull(count, NULL, 10) : fallback;
}
