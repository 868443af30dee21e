/* Making a rank, ending it, and what is left in it. */
#include "core/board.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/finish.h"
#include "core/graph.h"
#include "core/heirs.h"
#include "core/idle.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/pin.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/replica.h"
#include "core/request.h"
#include "core/scope.h"
#include "core/spill.h"
#include "core/spread.h"
#include "core/value.h"
#include "core/wait.h"
#include "store/store.h"
#include "topo/topo.h"

#include <stdarg.h>
#include <stdio.h>

enum { STACK_BYTES_DEFAULT = 256 * 1024, SPIN_SHARED_NS = 4000, TICKER_STACK_BYTES = 128 * 1024 };
/* Of what a waiting task has, as many as a driver may be ahead of the workers. */
enum { SPARES_MAX = 4096, WAITING_SPARES_MAX = 256 * 1024 };

static int fail(manta_error *ret_error, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *ret_error = (manta_error){.code = code};
    vsnprintf(ret_error->text, sizeof ret_error->text, format, args);
    va_end(args);
    return code;
}

static void init_lists(struct rank *rank)
{
    for (uint32_t i = 0; i < CORE_PRIORITIES; i++) {
        base_list_init(&rank->pending[LANE_WORKERS][i]);
        base_list_init(&rank->pending[LANE_OUTSIDE][i]);
        base_list_init(&rank->ready[i]);
    }
    for (uint32_t i = 0; i < CORE_DELAYS; i++) {
        base_list_init(&rank->later[i]);
    }
    base_list_init(&rank->hungry[LANE_WORKERS]);
    base_list_init(&rank->hungry[LANE_OUTSIDE]);
    base_list_init(&rank->doomed);
    base_list_init(&rank->idle);
    base_list_init(&rank->starting);
    base_list_init(&rank->idle_replicas);
    base_list_init(&rank->idle_copies);
    base_list_init(&rank->tables);
    base_list_init(&rank->gone_replicas);
    base_list_init(&rank->unfetched);
    base_list_init(&rank->resting);
    base_list_init(&rank->throttled);
    base_list_init(&rank->batching);
    base_list_init(&rank->released);
    base_list_init(&rank->peer_list);
    base_list_init(&rank->parked);
    base_list_init(&rank->settling);
    base_list_init(&rank->graced);
    base_list_init(&rank->maps);
    base_list_init(&rank->drafts);
    base_list_init(&rank->queues);
    base_list_init(&rank->orphans);
    base_list_init(&rank->given_up);
    base_list_init(&rank->streams);
    base_list_init(&rank->sources);
    base_list_init(&rank->lineages);
    base_list_init(&rank->outside.queued);
    base_list_init(&rank->outside.running);
    base_list_init(&rank->ticker_sleeper.idle);
    base_list_init(&rank->graphs.ready);
    base_list_init(&rank->graphs.owned);
}

/* Polling pays while the cores are ours; when ranks share them it only keeps the others from
 * working. */
static uint64_t choose_spin(const struct core_options *options)
{
    bool is_shared = options->cores < 1 || options->is_crowded;
    return is_shared ? MT_MIN(options->host->spin_ns, (uint64_t)SPIN_SHARED_NS)
                     : options->host->spin_ns;
}

static struct rank *allocate(const struct core_options *options)
{
    struct rank *rank =
        base_alloc_aligned(MT_CACHE_LINE, MT_ALIGN_UP(sizeof *rank, (size_t)MT_CACHE_LINE));
    if (!rank) {
        return NULL;
    }
    rank->options = *options;
    rank->options.stack_bytes = options->stack_bytes ? options->stack_bytes : STACK_BYTES_DEFAULT;
    rank->host = options->host;
    rank->tracks = base_timeline_tracks(options->timeline);
    rank->started_ns = base_now_ns(options->host);
    rank->comm = options->comm;
    rank->number = comm_rank(options->comm);
    rank->size = comm_size(options->comm);
    rank->worker_count = options->workers;
    rank->outside.processes = options->processes;
    rank->outside.cpus = options->commands_max ? options->commands_max : options->workers;
    rank->spin_ns = choose_spin(options);
    init_lists(rank);
    base_slab_init(&rank->tasks, (uint32_t)MT_ALIGN_UP(sizeof(struct task), (size_t)MT_CACHE_LINE));
    base_slab_init(&rank->runs, (uint32_t)MT_ALIGN_UP(sizeof(struct run), (size_t)MT_CACHE_LINE));
    base_spares_init(&rank->spare_borrows, sizeof(struct borrow), SPARES_MAX);
    base_spares_init(&rank->spare_guards, sizeof(struct guard), SPARES_MAX);
    base_spares_init(&rank->spare_extras, sizeof(struct task_extra), SPARES_MAX);
    base_spares_init(&rank->spare_holders, sizeof(struct remote_holder), SPARES_MAX);
    base_spares_init(&rank->spare_values, VALUE_SPARE_BYTES, SPARES_MAX);
    base_spares_init(&rank->spare_watches, sizeof(struct watch), WAITING_SPARES_MAX);
    for (size_t i = 0; i < MT_COUNT(rank->spare_blocks); i++) {
        base_spares_init(&rank->spare_blocks[i], (i + 1) * PACK_SPARE_STEP, WAITING_SPARES_MAX);
    }
    base_list_init(&rank->roots);
    scope_init_root(rank, &rank->root);
    rank->peers = base_alloc(rank->size * sizeof *rank->peers);
    rank->down = base_alloc(rank->size);
    rank->workers = base_alloc(rank->worker_count * sizeof *rank->workers);
    rank->stacks = fiber_pool_create(rank->options.stack_bytes, 0);
    return rank;
}

static int start_worker(struct rank *rank, uint32_t number)
{
    struct worker *worker = &rank->workers[number];
    char name[16];
    snprintf(name, sizeof name, "manta-work-%u", number % 1000);
    struct base_thread_options options = {.name = name};
    if (rank->options.topo) {
        options.cpuset = topo_worker_cpuset(rank->options.topo, number);
        options.topology = topo_handle(rank->options.topo);
    }
    worker->rank = rank;
    worker->number = number;
    worker->sleeper.is_worker = 1;
    base_list_init(&worker->sleeper.idle);
    base_list_init(&worker->resumable);
    base_list_init(&worker->timed);
    return rank->host->thread_start(rank->host->self, &worker->thread, &options, exec_worker_main,
                                    worker);
}

static int start_threads(struct rank *rank, uint32_t *ret_started)
{
    struct base_thread_options ticker = {.name = "manta-tick", .stack_bytes = TICKER_STACK_BYTES};
    for (uint32_t i = 0; i < rank->worker_count; i++) {
        int code = start_worker(rank, i);
        if (code != MANTA_OK) {
            return code;
        }
        ++*ret_started;
    }
    int code =
        rank->host->thread_start(rank->host->self, &rank->ticker, &ticker, ticker_main, rank);
    rank->has_ticker = code == MANTA_OK;
    return code;
}

static void join_threads(struct rank *rank, uint32_t started)
{
    for (uint32_t i = 0; i < started; i++) {
        rank->host->thread_join(rank->host->self, &rank->workers[i].thread);
    }
    if (rank->has_ticker) {
        rank->host->thread_join(rank->host->self, &rank->ticker);
    }
}

static void free_rank(struct rank *rank)
{
    struct base_list *link;
    queue_detach_all(rank);
    while ((link = base_list_pop_front(&rank->peer_list))) {
        struct peer *peer = MT_CONTAINER(link, struct peer, link);
        request_drop_all(rank, peer);
        base_free(peer);
    }
    outside_fini(rank);
    graph_fini(rank);
    recover_fini(rank);
    heirs_fini(rank);
    scope_fini_roots(rank);
    base_slab_fini(&rank->tasks);
    base_slab_fini(&rank->runs);
    base_spares_fini(&rank->spare_borrows);
    base_spares_fini(&rank->spare_guards);
    base_spares_fini(&rank->spare_extras);
    base_spares_fini(&rank->spare_holders);
    base_spares_fini(&rank->spare_values);
    for (size_t i = 0; i < MT_COUNT(rank->spare_blocks); i++) {
        base_spares_fini(&rank->spare_blocks[i]);
    }
    base_spares_fini(&rank->spare_watches);
    base_map_fini(&rank->scopes);
    base_map_fini(&rank->borrows);
    base_map_fini(&rank->homes);
    base_map_fini(&rank->copies);
    base_map_fini(&rank->inboxes);
    pin_fini(rank);
    spill_destroy(rank);
    base_map_fini(&rank->replicas);
    base_map_fini(&rank->spreads);
    base_free(rank->node_next);
    if (rank->stacks &&
        fiber_pool_in_use(rank->stacks) == 0) { /* else bodies waited when the rank was stopped */
        fiber_pool_destroy(rank->stacks);
    }
    base_free(rank->peers);
    base_free(rank->down);
    base_free(rank->workers);
    base_free(rank);
}

int core_rank_create(const struct core_options *options, struct rank **ret_rank,
                     manta_error *ret_error)
{
    char text[MANTA_ERROR_TEXT_MAX];
    uint32_t started = 0;
    int code = registry_check(text, sizeof text);
    if (code != MANTA_OK) {
        return fail(ret_error, code, "%s", text);
    }
    struct rank *rank = allocate(options);
    if (!rank || !rank->peers || !rank->down || !rank->workers || !rank->stacks ||
        !peer_get(rank, rank->number) || spill_create(rank) != MANTA_OK) {
        if (rank) {
            free_rank(rank);
        }
        return fail(ret_error, MANTA_E_NOMEM, "no memory for the tables of rank %u",
                    comm_rank(options->comm));
    }
    struct comm_sink sink = {rank->tracks ? message_receive_noted : message_receive,
                             recover_peer_down,
                             rank,
                             replica_place,
                             replica_landed,
                             spread_returned};
    comm_set_sink(rank->comm, &sink);
    board_open(rank);
    code = start_threads(rank, &started);
    if (code != MANTA_OK) {
        baton_take(&rank->baton, rank->host);
        finish_stop(rank, code);
        baton_give(&rank->baton);
        join_threads(rank, started);
        free_rank(rank);
        return fail(ret_error, code,
                    "cannot start %u worker threads: check the limit on processes (ulimit -u)",
                    options->workers);
    }
    *ret_rank = rank;
    return MANTA_OK;
}

void core_rank_destroy(struct rank *rank)
{
    if (!rank) {
        return;
    }
    join_threads(rank, rank->worker_count);
    spill_stop(rank);
    free_rank(rank);
}

struct core_counts core_count(struct rank *rank)
{
    struct store *store = rank->options.store;
    return (struct core_counts){.blocks = store ? store_get_stats(store).blocks : 0,
                                .copies = rank->copies.count + rank->replicas.count +
                                          rank->spreads.count + rank->loans,
                                .tasks = rank->tasks.live,
                                .runs = rank->runs.live,
                                .borrows = rank->borrows.count,
                                .scopes = rank->scopes_live,
                                .values = rank->values_live,
                                .maps = rank->maps_live,
                                .homes = rank->homes_live};
}

struct core_pulse core_get_pulse(struct rank *rank)
{
    return (struct core_pulse){atomic_load_explicit(&rank->turns, memory_order_relaxed),
                               baton_is_taken(&rank->baton)};
}

uint32_t core_find_lost(struct rank *rank, const uint8_t *told)
{
    uint32_t lost = UINT32_MAX;
    if (baton_try(&rank->baton)) {
        for (uint32_t i = 0; rank->deaths && i < rank->size && lost == UINT32_MAX; i++) {
            lost = rank->down[i] && !told[i] ? i : lost;
        }
        baton_give(&rank->baton);
    }
    return lost;
}

struct core_stats core_get_stats(struct rank *rank)
{
    return rank->stats;
}
