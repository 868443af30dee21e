#include "world.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "comm/ops.h"
#include "core/rank.h"
#include "store/store.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A killed rank frees nothing: that is what being killed means. Other worlds are checked for leaks.
 */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define LEAKS_ARE_MEANT(enter, are_meant)                                                          \
    ((are_meant) ? (enter) ? __lsan_disable() : __lsan_enable() : (void)0)
#else
#define LEAKS_ARE_MEANT(enter, are_meant) (void)0
#endif

/* In which all survivors hear of a death, as the simulator has it if nobody asks for more. */
#define HEARD_NS UINT64_C(6000000)

/* Virtual time of a job in which nothing happens; of looks at recovery. */
#define SLACK_NS UINT64_C(20000000)
#define LOOK_NS UINT64_C(20000)

struct world;

struct member {
    struct world *world;
    uint32_t number;
    struct rank *rank;
    struct comm_sink sink; /* the core's */
    uint8_t *is_told;      /* by rank: the core has heard that it is dead */
    bool is_out;           /* it has learned that it counts as dead */
    struct pretend *processes;
    struct pretend_disk *disk; /* NULL: none */
    struct store *store;
    int code;
};

struct planned {
    struct world *world;
    const struct fault *fault;
};

struct world {
    const struct world_options *options;
    struct sim *sim;
    manta_driver driver;
    struct member *members;
    struct fault_plan plan;
    struct planned planned[FAULTS_MAX];
    bool is_submitting, is_looking;
    uint32_t node_ranks; /* of a node */
    uint32_t *nodes;     /* by rank: its node's lowest */
    uint64_t recovering_since_ns;
    struct world_result result;
};

static struct world *running; /* world_kill's */

static void add_counts(struct core_counts *sum, const struct core_counts *one)
{
    sum->tasks += one->tasks;
    sum->runs += one->runs;
    sum->borrows += one->borrows;
    sum->scopes += one->scopes;
    sum->values += one->values;
    sum->maps += one->maps;
    sum->homes += one->homes;
    sum->blocks += one->blocks;
    sum->copies += one->copies;
}

static void add_stats(struct core_stats *sum, const struct core_stats *one)
{
    sum->submitted += one->submitted;
    sum->completed += one->completed;
    sum->executed += one->executed;
    sum->retried += one->retried;
    sum->moved += one->moved;
    sum->remade += one->remade;
    sum->adopted += one->adopted;
    sum->relaunched += one->relaunched;
    sum->parked += one->parked;
    sum->inlined += one->inlined;
    sum->spilled_bytes += one->spilled_bytes;
    sum->restored_bytes += one->restored_bytes;
    sum->evicted_bytes += one->evicted_bytes;
    sum->room_waits += one->room_waits;
    sum->spill_errors += one->spill_errors;
    sum->reused_values += one->reused_values;
    sum->copied += one->copied;
    sum->evicted += one->evicted;
    sum->chunks_sent += one->chunks_sent;
    sum->chunks_passed += one->chunks_passed;
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

/* ---- Ranks ---------------------------------------------------------------------------------- */

static void on_message(void *owner, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct member *member = owner;
    member->world->result.from_dead += member->is_told[from];
    world_trace_message(sim_now_ns(member->world->sim), member->number, from, header, body);
    member->sink.message(member->sink.owner, from, header, body);
}

static void on_peer_down(void *owner, uint32_t peer)
{
    struct member *member = owner;
    member->is_told[peer] = 1;
    world_trace_death(sim_now_ns(member->world->sim), member->number, peer);
    member->sink.peer_down(member->sink.owner, peer);
}

static void *on_place(void *owner, uint32_t from, const struct comm_lent *lent)
{
    struct member *member = owner;
    member->world->result.from_dead += member->is_told[from];
    return member->sink.place(member->sink.owner, from, lent);
}

static void on_landed(void *owner, uint32_t from, const struct comm_lent *lent, void *place,
                      bool is_whole)
{
    const struct member *member = owner;
    member->sink.landed(member->sink.owner, from, lent, place, is_whole);
}

static void on_returned(void *owner, struct comm_loan *loan)
{
    const struct member *member = owner;
    member->sink.returned(member->sink.owner, loan);
}

static void listen_in(struct member *member, struct comm *comm)
{
    struct comm_sink sink = {on_message, on_peer_down, member, on_place, on_landed, on_returned};
    member->sink = comm->sink;
    comm_set_sink(comm, &sink);
}

static int start_rank(struct member *member)
{
    const struct world_options *options = member->world->options;
    struct core_options core = {.host = sim_host(member->world->sim, member->number),
                                .comm = sim_comm(member->world->sim, member->number),
                                .workers = options->workers ? options->workers : 1,
                                .cores = 1,
                                .node_ranks = options->ranks,
                                .nodes = member->world->nodes,
                                .host_name = "virtual",
                                .stack_bytes = 64 * 1024,
                                .window_max = options->window_max,
                                .parked_max = options->parked_max,
                                .store = member->store,
                                .lineage_bytes = options->lineage_bytes,
                                .processes = pretend_face(member->processes)};
    manta_error error;
    int code = core_rank_create(&core, &member->rank, &error);
    if (code != MANTA_OK) {
        fprintf(stderr, "rank %u does not start: %s\n", member->number, error.text);
        return code;
    }
    pretend_set_core(member->processes, member->rank);
    if (member->is_told) {
        listen_in(member, core.comm);
    }
    return MANTA_OK;
}

static void plan_faults(struct world *world, bool are_late);

static uint64_t count_messages(const struct world *world)
{
    uint64_t sent = 0;
    for (uint32_t i = 0; i < world->options->ranks; i++) {
        sent += comm_get_stats(sim_comm(world->sim, i)).messages_sent;
    }
    return sent;
}

static int drive(struct world *world)
{
    char name[] = "driver", *argv[] = {name, NULL};
    int code = core_attach(world->members[0].rank);
    world->is_submitting = true;
    code = code ? code : world->driver(1, argv);
    world->result.exit_code = code;
    world->result.driver_ns = sim_now_ns(world->sim);
    world->result.driver_messages = count_messages(world);
    core_detach(world->members[0].rank);
    plan_faults(world, true);
    return code;
}

static void note_end(const struct member *member)
{
    struct world *world = member->world;
    struct rank *rank = member->rank;
    struct pretend_counts processes = pretend_count(member->processes);
    struct core_counts counts = core_count(rank);
    struct core_stats stats = core_get_stats(rank);
    add_counts(&world->result.left, &counts);
    add_stats(&world->result.total, &stats);
    add_processes(&world->result.processes, &processes);
    if (rank->number) {
        world->result.most_messages =
            MT_MAX(world->result.most_messages, rank->counted_sent + rank->counted_received);
    }
    world->result.messages += rank->counted_sent;
    world->result.unequal += stats.submitted != stats.completed;
    if (rank->number == 0) {
        world->result.redone = core_get_redone(rank);
        world->result.deaths = rank->deaths;
    }
}

static void rank_main(void *arg)
{
    struct member *member = arg;
    member->code = start_rank(member);
    if (member->code != MANTA_OK) {
        return;
    }
    if (member->number == 0) {
        member->code = drive(member->world);
    }
    (void)core_finish(member->rank, member->code);
    if (!member->is_out) {
        note_end(member);
    }
    pretend_set_core(member->processes, NULL);
    struct rank *rank = member->rank;
    member->rank = NULL;
    core_rank_destroy(rank);
    store_close(member->store);
}

/* It counts as dead, and has seen it. */
static void on_fenced(void *arg, uint32_t number)
{
    struct world *world = arg;
    struct member *member = &world->members[number];
    member->is_out = true;
    if (member->rank) {
        core_stop(member->rank, 1);
    }
}

/* ---- Faults --------------------------------------------------------------------------------- */

/* Somebody is dead, and not everybody has heard and settled it. */
static bool is_recovering(const struct world *world)
{
    const struct rank *first = world->members[0].rank;
    uint32_t dead = 0;
    for (uint32_t i = 1; i < world->options->ranks; i++) {
        dead += !sim_is_alive(world->sim, i) || sim_is_judged(world->sim, i);
    }
    return first && (first->deaths != dead || !base_list_is_empty(&first->settling));
}

static enum fault_phase phase_of(const struct world *world)
{
    if (world->members[0].rank->is_finishing) {
        return PHASE_FINISH;
    }
    if (is_recovering(world)) {
        return PHASE_RECOVERY;
    }
    return world->members[0].rank->stats.completed ? PHASE_WORK : PHASE_START;
}

/* Goes on while a rank is dead and that is not settled. */
static void look(void *arg)
{
    struct world *world = arg;
    uint64_t now_ns = sim_now_ns(world->sim), took_ns = now_ns - world->recovering_since_ns;
    world->is_looking = is_recovering(world);
    world->result.recovery_ns = MT_MAX(world->result.recovery_ns, took_ns);
    if (world->is_looking) {
        (void)sim_at(world->sim, now_ns + LOOK_NS, look, world);
    }
}

static void watch_recovery(struct world *world)
{
    if (!world->is_looking && is_recovering(world)) {
        world->is_looking = true;
        world->recovering_since_ns = sim_now_ns(world->sim);
        look(world);
    }
}

static void watch_later(void *arg)
{
    watch_recovery(arg);
}

/* Rank 0 speaks of deaths from when all have started until it has ended. */
static bool is_survivable(const struct world *world)
{
    for (uint32_t i = 0; i < world->options->ranks; i++) {
        if (!world->members[i].rank && sim_is_alive(world->sim, i)) {
            return false;
        }
    }
    return true;
}

static void inject(void *arg)
{
    struct planned *planned = arg;
    struct world *world = planned->world;
    const struct fault *fault = planned->fault;
    if (!world->members[0].rank) {
        return;
    }
    if (!is_survivable(world)) {
        if (!world->members[0].rank->is_finishing) {
            (void)sim_at(world->sim, sim_now_ns(world->sim) + LOOK_NS, inject, planned);
        }
        return;
    }
    world->result.injected[fault->kind][phase_of(world)]++;
    fault_inject(&world->plan, fault, world->sim);
    watch_recovery(world);
    (void)sim_at(world->sim, sim_now_ns(world->sim) + world->plan.silence_ns * 5 / 4 + LOOK_NS,
                 watch_later, world);
}

static void plan_faults(struct world *world, bool are_late)
{
    uint64_t now_ns = sim_now_ns(world->sim);
    for (uint32_t i = 0; i < world->plan.count; i++) {
        const struct fault *fault = &world->plan.faults[i];
        if (fault->is_late == are_late) {
            world->planned[i] = (struct planned){world, fault};
            (void)sim_at(world->sim, now_ns + fault->at_ns, inject, &world->planned[i]);
        }
    }
}

/* ---- A run ---------------------------------------------------------------------------------- */

static bool has_faults(const struct world_options *options)
{
    return options->ranks > 1 && options->kills + options->faults > 0;
}

static bool is_deadly(const struct world_options *options)
{
    return has_faults(options) || options->will_kill;
}

static void kill_planned(void *arg)
{
    sim_kill(running->sim, (uint32_t)(uintptr_t)arg);
}

uint64_t world_now_ns(void)
{
    return sim_now_ns(running->sim);
}

void world_kill(uint32_t rank)
{
    world_kill_all(&rank, 1);
}

void world_kill_all(const uint32_t *ranks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        running->result.injected[FAULT_KILL][PHASE_WORK]++;
        (void)sim_at(running->sim, sim_now_ns(running->sim), kill_planned,
                     (void *)(uintptr_t)ranks[i]);
    }
    core_work(HEARD_NS);
}

static struct sim *make_sim(struct world *world)
{
    const struct world_options *options = world->options;
    struct sim_options sim = {.seed = options->seed,
                              .ranks = options->ranks,
                              .delay_max_ns = options->delay_max_ns,
                              .delay_min_ns = options->delay_max_ns ? 500 : 0,
                              .bytes_per_us = options->bytes_per_us,
                              .fenced = on_fenced,
                              .fenced_arg = world};
    sim.node_ranks = options->node_ranks;
    if (has_faults(options)) {
        struct fault_options faults = {.seed = options->seed,
                                       .within_ns = options->kill_within_ns,
                                       .ranks = options->ranks,
                                       .count = MT_MAX(options->kills, options->faults),
                                       .only_kills = options->faults == 0};
        fault_plan_draw(&faults, &world->plan);
        sim.silence_ns = world->plan.silence_ns;
        sim.node_ranks = world->plan.node_ranks;
        sim.detect_min_ns = 10000;
        sim.detect_max_ns = world->plan.detect_max_ns;
    }
    if (options->work_ns) {
        world->result.bound_ns =
            options->work_ns * (2 + 2 * world->plan.count) + SLACK_NS + world->plan.allowance_ns;
        sim.time_limit_ns = world->result.bound_ns;
    }
    world->node_ranks = sim.node_ranks ? sim.node_ranks : options->ranks;
    return sim_create(&sim);
}

/* The store of a node, or the descriptor that the node's ranks before made. */
static int open_store(const struct world *world, struct member *member)
{
    static int fd = -1, disk = -1;
    uint32_t number = member->number;
    uint32_t ranks = world->options->ranks, node_ranks = world->node_ranks;
    uint32_t index = number % node_ranks;
    uint64_t bytes = store_bytes(node_ranks, world->options->store_bytes);
    if (index == 0) {
        fd = memfd_create("world", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) ||
            store_format(fd, 0, node_ranks, world->options->store_bytes) != MANTA_OK) {
            return -1;
        }
    }
    struct store_options options = {fd, 0, index, node_ranks};
    if (world->options->disk.delay_max_ns) {
        disk = index == 0 ? memfd_create("disk", MFD_CLOEXEC) : disk;
        member->disk = pretend_disk_create(world->sim, number, disk, &world->options->disk);
        options.disk = pretend_disk_face(member->disk);
    }
    int code = store_open(&options, &member->store);
    if (index == node_ranks - 1 || number == ranks - 1) {
        close(fd);
        if (disk >= 0) {
            close(disk);
        }
        disk = -1;
    }
    return code;
}

static int make_members(struct world *world)
{
    uint32_t ranks = world->options->ranks;
    world->members = base_alloc(ranks * sizeof *world->members);
    world->nodes = base_alloc(ranks * sizeof *world->nodes);
    if (!world->nodes) {
        return -1;
    }
    for (uint32_t i = 0; i < ranks; i++) {
        world->nodes[i] = i - i % world->node_ranks;
    }
    for (uint32_t i = 0; world->members && i < ranks; i++) {
        struct pretend *processes = pretend_create(world->sim, i, world->options->lost_percent);
        world->members[i] = (struct member){.world = world, .number = i, .processes = processes};
        if (world->options->store_bytes && open_store(world, &world->members[i]) != MANTA_OK) {
            return -1;
        }
        if (world->options->press_at_ns) {
            pretend_press_at(processes, world->options->press_at_ns);
        }
        if ((is_deadly(world->options) && !(world->members[i].is_told = base_alloc(ranks))) ||
            sim_start(world->sim, i, rank_main, &world->members[i]) != 0) {
            return -1;
        }
    }
    return world->members ? 0 : -1;
}

static void note_run(struct world *world)
{
    struct world_result *result = &world->result;
    for (uint32_t i = 0; i < world->options->ranks; i++) {
        const struct member *member = &world->members[i];
        if (result->sim_code != 0 && member->rank && sim_is_alive(world->sim, i)) {
            world_dump_rank(member->rank);
        }
        result->killed += !sim_is_alive(world->sim, i);
        result->fenced += member->is_out;
    }
    result->trace = sim_trace_hash(world->sim);
    result->events = sim_event_count(world->sim);
    result->time_ns = sim_now_ns(world->sim);
    result->all_messages = count_messages(world);
}

static int run_here(const struct world_options *options, manta_driver driver,
                    struct world_result *ret_result)
{
    struct world world = {.options = options, .driver = driver};
    world.sim = make_sim(&world);
    if (!world.sim || make_members(&world) != 0) {
        return -1;
    }
    sim_set_switch_hook(world.sim, core_context_slot());
    plan_faults(&world, false);
    running = &world;
    LEAKS_ARE_MEANT(true, is_deadly(options));
    world.result.sim_code = sim_run(world.sim);
    LEAKS_ARE_MEANT(false, is_deadly(options));
    note_run(&world);
    for (uint32_t i = 0; i < options->ranks; i++) {
        pretend_destroy(world.members[i].processes);
        pretend_disk_destroy(world.members[i].disk);
    }
    sim_destroy(world.sim);
    for (uint32_t i = 0; i < options->ranks; i++) {
        base_free(world.members[i].is_told);
    }
    base_free(world.members);
    base_free(world.nodes);
    *ret_result = world.result;
    return 0;
}

/* What a killed rank had is lost, as a dead process's memory is: here with the process that
 * simulates it. */
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
        signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on with the parent's tests here */
        signal(SIGABRT, SIG_DFL);
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
    return (is_deadly(options) ? run_apart : run_here)(options, driver, ret_result);
}

static bool is_zero(const struct core_counts *counts)
{
    return !(counts->tasks | counts->runs | counts->borrows | counts->scopes | counts->values |
             counts->maps | counts->homes | counts->blocks | counts->copies);
}

/* Deaths in the last moments may come after the report; what failed on its own is no death's. */
static const char *what_is_wrong(const struct world_result *result)
{
    bool was_late = false;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        was_late |= result->injected[kind][PHASE_FINISH] != 0;
    }
    if (result->sim_code != 0) {
        return "it did not end, or not in time";
    }
    if (result->exit_code != 0) {
        return "the driver failed";
    }
    if (!is_zero(&result->left)) {
        return "something is left";
    }
    if (result->unequal) {
        return "not as many tasks were completed as submitted";
    }
    if (result->processes.running) {
        return "commands still run";
    }
    if (result->from_dead) {
        return "a message of a dead rank was taken after its death was told";
    }
    if (!was_late && (result->redone.retried != result->total.retried ||
                      result->redone.adopted != result->total.adopted ||
                      result->redone.relaunched != result->total.relaunched)) {
        return "the report of what was redone is wrong";
    }
    return result->deaths == 0 && result->redone.adopted + result->redone.relaunched
               ? "work was redone without a death"
               : NULL;
}

int world_check(const char *test, const struct world_options *options,
                const struct world_result *result)
{
    const struct core_counts *left = &result->left;
    const char *wrong = what_is_wrong(result);
    if (!wrong) {
        return 0;
    }
    fprintf(stderr,
            "%s: seed %" PRIu64 ", %u ranks, %u dead: %s; simulator %s, driver %d; left: tasks "
            "%" PRIu64 " runs %" PRIu64 " borrows %" PRIu64 " scopes %" PRIu64 " values %" PRIu64
            " maps %" PRIu64 " homes %" PRIu64 " blocks %" PRIu64 " copies %" PRIu64 "\n"
            "replay: MANTA_SEED=%" PRIu64 " MANTA_SEEDS=1 meson test -C build '%s' --verbose\n",
            test, options->seed, options->ranks, result->killed, wrong,
            manta_error_name(result->sim_code), result->exit_code, left->tasks, left->runs,
            left->borrows, left->scopes, left->values, left->maps, left->homes, left->blocks,
            left->copies, options->seed, test);
    return 1;
}

void world_seeds(uint64_t fallback, uint64_t *ret_first, uint64_t *ret_count)
{
    const char *first = getenv("MANTA_SEED"), *count = getenv("MANTA_SEEDS");
    *ret_first = first ? strtoull(first, NULL, 10) : 1;
    *ret_count = count ? strtoull(count, NULL, 10) : fallback;
}
