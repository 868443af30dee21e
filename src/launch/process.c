#include "launch/process.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/timeline.h"
#include "base/units.h"
#include "comm/backends.h"
#include "core/core.h"
#include "launch/boot.h"
#include "launch/differ.h"
#include "launch/far.h"
#include "launch/hook.h"
#include "launch/join.h"
#include "launch/memory.h"
#include "launch/patience.h"
#include "launch/processes.h"
#include "launch/report.h"
#include "launch/signals.h"
#include "launch/watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

struct process {
    enum process_owner owner;
    struct settings settings;
    struct base_host host;
    struct base_log log;
    struct launcher launcher;
    const void *mpi_comm; /* the program's; NULL: all that the launcher started */
    struct boot boot;
    bool has_boot, has_signals, is_attached;
    struct patience patience;
    struct topo *topo;
    struct watch *watch;
    struct report *report; /* rank 0 under `manta run`, until it has said the code */
    uint32_t deaths;
    struct far *far; /* NULL: all ranks are on this node */
    struct comm *comm;
    struct store *store;
    struct disk *disk;              /* NULL: nothing is spilled */
    struct processes *processes;    /* commands and isolated tasks */
    struct base_timeline *timeline; /* NULL: none was asked for */
    struct rank *core;
    struct place place;
    union card_page *cards;      /* of all */
    union card_page *node_cards; /* of the ranks on this node */
    uint32_t *nodes;             /* by rank: its node's lowest */
    uint32_t rank, size;
    uint32_t node_index, node_size;
    uint64_t deadline_ns; /* of the start */
    int listener, far_listener;
    struct handover_fds memory; /* the segment, and the files for spilling */
    char host_name[MANTA_ERROR_HOST_MAX];
    char *text; /* PROCESS_TEXT_MAX: why the start failed */
};

MT_PRINTF(3, 4) static int fail(struct process *process, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(process->text, PROCESS_TEXT_MAX, format, args);
    va_end(args);
    return code;
}

static uint64_t time_left_ns(const struct process *process)
{
    uint64_t now_ns = base_now_ns(&process->host);
    return now_ns < process->deadline_ns ? process->deadline_ns - now_ns : 0;
}

/* ---- Alone with itself ---------------------------------------------------------------------- */

static int read_settings(struct process *process)
{
    char reason[MANTA_ERROR_TEXT_MAX];
    int code =
        settings_read((const char *const *)environ, &process->settings, reason, sizeof reason);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

static int start_watch(struct process *process)
{
    bool is_run = process->owner == PROCESS_RUN;
    struct watch_options options = {
        .host = &process->host,
        .log = process->log,
        .host_name = process->host_name,
        .owner = is_run ? WATCH_OWN_PROCESS : WATCH_GUEST,
        .has_launcher = is_run && process->launcher.kind != LAUNCHER_NONE,
        .rank = process->launcher.rank == LAUNCHER_RANK_UNKNOWN || process->mpi_comm
                    ? 0
                    : process->launcher.rank,
        .stop_timeout_ns = process->settings.stop_timeout_ns,
        .silence_ns = process->settings.silence_ns};
    int code = watch_start(&options, &process->watch);
    if (code == MANTA_OK && is_run) {
        code = signals_install(watch_signal_fd(process->watch), process->host_name);
        process->has_signals = code == MANTA_OK;
    }
    return code
               ? fail(process, code, "cannot start the watch thread: check ulimit -u and ulimit -n")
               : MANTA_OK;
}

/* A launcher that started one process, or none at all, needs no MPI. */
static int open_boot(struct process *process)
{
    bool has_live_mpi = !process->settings.is_alone && boot_has_live_mpi();
    enum boot_use use = process->owner == PROCESS_RUN ? BOOT_USE_BRIEF : BOOT_USE_KEPT;
    char reason[PROCESS_TEXT_MAX];
    if (process->mpi_comm && !process->settings.is_alone && !has_live_mpi) {
        return fail(process, MANTA_E_INVALID,
                    "manta_config.mpi_comm was given, but MPI is not initialized, or is finalized "
                    "already: call manta_init between MPI_Init_thread and MPI_Finalize");
    }
    if (!has_live_mpi && (process->launcher.kind == LAUNCHER_NONE || process->launcher.size == 1)) {
        process->boot = boot_alone();
        return MANTA_OK;
    }
    int code = boot_open_mpi(&process->launcher, use, process->mpi_comm, &process->boot, reason,
                             sizeof reason);
    if (code != MANTA_OK) {
        return fail(process, code, "%s", reason);
    }
    process->has_boot = true;
    return MANTA_OK;
}

static void close_boot(struct process *process)
{
    if (process->has_boot && process->boot.finish) {
        process->boot.finish();
    }
    process->has_boot = false;
    patience_stop(&process->patience);
}

/* ---- Cards ---------------------------------------------------------------------------------- */

static void make_card(struct process *process, struct card *card)
{
    int code = topo_create(NULL, &process->topo);
    card_fill(card, &process->host, process->topo, (uint32_t)process->settings.workers);
    if (code != MANTA_OK) {
        snprintf(card->text, sizeof card->text, "cannot read the machine's topology");
    } else if (process->size > 1) {
        code = handover_listen(card, process->size, &process->listener);
        code = code || process->rank ? code : join_listen(card, &process->far_listener);
        snprintf(card->text, sizeof card->text, "cannot open a socket: check ulimit -n");
    }
    card->rank = process->rank;
    card->code = code;
}

static int exchange(struct process *process)
{
    union card_page page = {.bytes = {0}};
    char reason[PROCESS_TEXT_MAX];
    uint32_t differs = 0;
    make_card(process, &page.card);
    process->cards = base_alloc(process->size * sizeof *process->cards);
    if (!process->cards) {
        return fail(process, MANTA_E_NOMEM, "no memory for %u cards", process->size);
    }
    int code = process->boot.allgather(&page, sizeof page, process->cards, time_left_ns(process));
    if (code != MANTA_OK) {
        process->has_boot = false; /* its end is collective, and somebody is missing */
        return fail(process, code,
                    "the ranks did not find each other in time (MANTA_LAUNCH_TIMEOUT)");
    }
    code = cards_check(process->cards, process->size, &differs, reason, sizeof reason);
    if (code == MANTA_OK && differs) {
        code =
            differ_explain(&process->boot, differs, time_left_ns(process), reason, sizeof reason);
    }
    if (code == MANTA_OK) {
        report_places(process->report, process->cards, process->size);
    }
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

static int take_place(struct process *process)
{
    unsigned cores;
    bool is_shared;
    process->node_cards = cards_of_node(process->cards, process->size, process->rank,
                                        &process->node_index, &process->node_size);
    process->nodes = cards_nodes(process->cards, process->size);
    if (!process->node_cards || !process->nodes) {
        return fail(process, MANTA_E_NOMEM, "no memory for %u cards", process->node_size);
    }
    process->place = cards_place(process->node_cards, process->node_size, process->node_index);
    topo_share(process->topo, process->place.index, process->place.sharers, &cores, &is_shared);
    return MANTA_OK;
}

/* While the bootstrap is there. */
static int find_ways(struct process *process)
{
    char reason[PROCESS_TEXT_MAX];
    if (process->node_size == process->size) {
        return MANTA_OK;
    }
    struct far_options options = {.host = &process->host,
                                  .boot = &process->boot,
                                  .cards = process->cards,
                                  .timeout_ns = time_left_ns(process),
                                  .expects_rdma = process->settings.expects_rdma};
    int code = far_open(&options, &process->far, reason, sizeof reason);
    if (code != MANTA_OK) {
        process->has_boot = false; /* its end is collective, and somebody may be missing */
        return fail(process, code, "%s", reason);
    }
    return MANTA_OK;
}

/* ---- Lines and rings ------------------------------------------------------------------------ */

static int make_memory(struct process *process)
{
    char reason[PROCESS_TEXT_MAX];
    int code = memory_create(&process->settings, process->topo, process->node_size, &process->log,
                             &process->memory, reason, sizeof reason);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

/* The lowest rank of a node; links come by place on the node. */
static int give(struct process *process, struct link *links)
{
    char reason[PROCESS_TEXT_MAX];
    int code = make_memory(process);
    if (code != MANTA_OK) {
        return code;
    }
    code = handover_give(&process->host, process->listener, process->node_cards, process->node_size,
                         &process->memory, process->deadline_ns, links, reason, sizeof reason);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

static int take(struct process *process, struct link *link)
{
    char reason[PROCESS_TEXT_MAX];
    int code = handover_take(&process->host, process->node_cards, process->node_index,
                             process->deadline_ns, link, &process->memory, reason, sizeof reason);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

/* Rank 0: from places on the node to ranks, back to front because ranks are never lower. */
static void spread_links(const struct process *process, struct link *links)
{
    for (uint32_t rank = process->size; rank-- > process->node_size;) {
        links[rank] = (struct link){-1, -1};
    }
    for (uint32_t place = process->node_size; place-- > 1;) {
        uint32_t rank = process->node_cards[place].card.rank;
        struct link link = links[place];
        links[place] = (struct link){-1, -1};
        links[rank] = link;
    }
}

static int connect_first(struct process *process, struct link *links)
{
    char reason[PROCESS_TEXT_MAX];
    int code = give(process, links);
    if (code != MANTA_OK) {
        return code;
    }
    spread_links(process, links);
    code = join_accept(&process->host, process->far_listener, process->cards, process->size,
                       process->deadline_ns, links, reason, sizeof reason);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

/* On rank 0's node the line comes with the segment; elsewhere there is one more call. */
static int connect_other(struct process *process, struct link *links)
{
    char reason[PROCESS_TEXT_MAX];
    bool is_far = process->node_cards[0].card.rank != 0;
    int code = process->node_index == 0 ? give(process, links) : take(process, links);
    for (uint32_t i = 0; is_far && i < process->node_size; i++) {
        link_close(&links[i]);
    }
    if (code == MANTA_OK && is_far) {
        code = join_call(&process->host, process->cards, process->rank, process->deadline_ns, links,
                         reason, sizeof reason);
        return code ? fail(process, code, "%s", reason) : MANTA_OK;
    }
    return code;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int connect_ranks(struct process *process)
{
    struct link *links = base_alloc(process->size * sizeof *links);
    if (!links) {
        return fail(process, MANTA_E_NOMEM, "no memory for %u lines", process->size);
    }
    for (uint32_t i = 0; i < process->size; i++) {
        links[i] = (struct link){-1, -1};
    }
    int code = process->rank == 0 ? connect_first(process, links) : connect_other(process, links);
    if (code == MANTA_OK) {
        code = watch_adopt(process->watch, process->rank, process->size, links, process->cards);
        code = code ? fail(process, code, "cannot watch %u ranks: check ulimit -n", process->size)
                    : MANTA_OK;
    } else {
        for (uint32_t i = 0; i < process->size; i++) {
            link_close(&links[i]);
        }
    }
    base_free(links);
    close_fd(&process->listener);
    close_fd(&process->far_listener);
    return code;
}

static int open_comm(struct process *process)
{
    if (process->size == 1) {
        return comm_create_alone(&process->host, &process->comm);
    }
    struct comm *near;
    int code = comm_create_shm(&process->host, process->memory.fds[0], process->node_index,
                               process->node_size, &near);
    if (code == MANTA_OK && process->far) {
        code =
            far_join(process->far, near, process->node_cards, process->node_size, &process->comm);
    } else if (code == MANTA_OK) {
        process->comm = near;
    }
    return code ? fail(process, code, "cannot map the shared segment: check ulimit -v") : MANTA_OK;
}

static void close_memory(struct process *process)
{
    while (process->memory.count) {
        close(process->memory.fds[--process->memory.count]);
    }
}

static int open_store(struct process *process)
{
    char reason[PROCESS_TEXT_MAX];
    int code = process->size == 1 ? make_memory(process) : MANTA_OK;
    if (code != MANTA_OK) {
        return code;
    }
    code = memory_open_store(&process->memory, process->node_index, process->node_size,
                             &process->disk, &process->store, reason, sizeof reason);
    close_memory(process);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

/* ---- The core ------------------------------------------------------------------------------- */

static int make_processes(struct process *process)
{
    struct processes_options options = {.host = &process->host,
                                        .log = process->log,
                                        .rank = process->rank,
                                        .host_name = process->host_name,
                                        .log_path = getenv("MANTA_COMMAND_LOG"),
                                        .reserve_percent =
                                            (uint32_t)process->settings.memory_reserve};
    int code = processes_create(&options, &process->processes);
    return code ? fail(process, code, "no memory for the table of processes") : MANTA_OK;
}

/* Equal on all ranks of a job, which know each other's cards. */
static uint64_t job_of(const struct process *process)
{
    const struct card *first = &process->cards[0].card;
    return base_mix64(first->socket_name[0] ^ base_mix64(first->machine ^ first->pid));
}

static int make_timeline(struct process *process)
{
    struct base_timeline_options options = {.host = &process->host,
                                            .directory = getenv("MANTA_TIMELINE"),
                                            .rank = process->rank,
                                            .size = process->size,
                                            .tracks = process->place.workers + 1,
                                            .job = job_of(process),
                                            .machine = process->cards[process->rank].card.machine,
                                            .host_name = process->host_name};
    char reason[PROCESS_TEXT_MAX] = "no memory for the timeline's names";
    if (!options.directory || !*options.directory) {
        return MANTA_OK;
    }
    struct base_timeline_name *names = core_timeline_names(&options.name_count);
    options.names = names;
    int code = names ? base_timeline_create(&options, &process->timeline, reason, sizeof reason)
                     : MANTA_E_NOMEM;
    base_free(names);
    return code ? fail(process, code, "%s", reason) : MANTA_OK;
}

static int start_core(struct process *process)
{
    const struct settings *settings = &process->settings;
    int code = make_processes(process);
    code = code ? code : make_timeline(process);
    if (code != MANTA_OK) {
        return code;
    }
    struct core_options options = {.host = &process->host,
                                   .comm = process->comm,
                                   .workers = process->place.workers,
                                   .cores = process->place.cores,
                                   .node_ranks = process->node_size,
                                   .nodes = process->nodes,
                                   .is_crowded = process->place.is_crowded,
                                   .host_name = process->host_name,
                                   .topo = settings->is_pinned ? process->topo : NULL,
                                   .store = process->store,
                                   .store_patience_ns = settings->store_patience_ns,
                                   .lineage_bytes = MT_MAX(settings->lineage_bytes, 1u),
                                   .stack_bytes = settings->stack_bytes,
                                   .parked_max = (uint32_t)settings->parked_max,
                                   .window_max = (uint32_t)settings->window_max,
                                   .commands_max = (uint32_t)settings->commands,
                                   .timeline = process->timeline,
                                   .processes = processes_of(process->processes),
                                   .log = process->log};
    manta_error error = {0};
    code = core_rank_create(&options, &process->core, &error);
    if (code != MANTA_OK) {
        return fail(process, code, "%s", error.text);
    }
    watch_set_core(process->watch, process->core);
    return MANTA_OK;
}

static int enter(struct process *process)
{
    int code = MANTA_OK;
    if (process->owner == PROCESS_RUN) {
        code = core_attach(process->core);
        process->is_attached = code == MANTA_OK;
    }
    core_set_process_rank(process->core);
    if (code != MANTA_OK) {
        return fail(process, code, "no memory for the driver's context");
    }
    code = hooks_run(MANTA_AT_START);
    return code ? fail(process, code, "a start hook on rank %u returned %d", process->rank, code)
                : MANTA_OK;
}

static void on_death(void *arg, uint32_t rank)
{
    struct process *process = arg;
    comm_report_death(process->comm, rank);
}

/* A program that keeps MPI ends with any of its ranks: MPI does, and root scopes are everywhere. */
static void allow_deaths(struct process *process)
{
    if (process->owner == PROCESS_RUN && process->size > 1) {
        watch_survive(process->watch, on_death, process);
    }
}

static int start_local(struct process *process)
{
    int code = open_comm(process);
    code = code ? code : open_store(process);
    code = code ? code : start_core(process);
    code = code ? code : enter(process);
    if (code == MANTA_OK) {
        allow_deaths(process);
        watch_set_far(process->watch, process->far);
    }
    return code;
}

/* ---- Together ------------------------------------------------------------------------------- */

static void have_patience(struct process *process, bool is_speaker)
{
    process->patience = (struct patience){.host = &process->host,
                                          .log = process->log,
                                          .deadline_ns = process->deadline_ns,
                                          .is_speaker = is_speaker};
    if (process->owner == PROCESS_RUN && process->launcher.kind != LAUNCHER_NONE) {
        patience_start(&process->patience);
    }
}

static int prepare(struct process *process, bool is_speaker)
{
    int code = start_watch(process);
    if (code == MANTA_OK) {
        have_patience(process, is_speaker);
        code = open_boot(process);
    }
    if (code != MANTA_OK) {
        return code;
    }
    process->rank = process->boot.rank;
    process->size = process->boot.size;
    signals_set_rank(process->rank);
    return exchange(process);
}

static int start_together(struct process *process)
{
    int code = take_place(process);
    code = code ? code : find_ways(process);
    if (code != MANTA_OK) {
        return code;
    }
    if (process->owner == PROCESS_RUN) {
        close_boot(process);
    }
    if (process->size > 1) {
        code = connect_ranks(process);
        if (code != MANTA_OK) {
            return code;
        }
    }
    code = start_local(process);
    return watch_meet(process->watch, code, time_left_ns(process), process->text, PROCESS_TEXT_MAX);
}

static void end_timeline(struct process *process)
{
    int error = 0;
    uint64_t lost = base_timeline_destroy(process->timeline, &error);
    process->timeline = NULL;
    if (lost || error) {
        base_log(&process->log, BASE_LOG_WARN,
                 "the timeline of rank %u (MANTA_TIMELINE) lacks %llu records: %s", process->rank,
                 (unsigned long long)lost,
                 error ? strerror(error) : "they came faster than they could be written");
    }
}

static void leave_core(struct process *process)
{
    core_set_process_rank(NULL);
    if (process->watch) {
        watch_survive(process->watch, NULL, NULL);
        watch_set_core(process->watch, NULL);
        watch_set_far(process->watch, NULL);
    }
    if (process->is_attached) {
        core_detach(process->core);
    }
    processes_destroy(process->processes);
    process->processes = NULL;
    core_rank_destroy(process->core);
    process->core = NULL;
    end_timeline(process);
}

static void free_process(struct process *process)
{
    processes_destroy(process->processes);
    end_timeline(process);
    comm_destroy(process->comm);
    store_close(process->store);
    disk_close(process->disk);
    far_close(process->far);
    topo_destroy(process->topo);
    watch_destroy(process->watch);
    if (process->has_signals) {
        signals_restore();
    }
    close_boot(process);
    base_free(process->cards);
    base_free(process->node_cards);
    base_free(process->nodes);
    close_fd(&process->listener);
    close_fd(&process->far_listener);
    close_memory(process);
    base_free(process);
}

static struct process *make(enum process_owner owner, struct base_log *log, char *text)
{
    struct process *process = base_alloc(sizeof *process);
    if (!process) {
        snprintf(text, PROCESS_TEXT_MAX, "no memory");
        return NULL;
    }
    process->owner = owner;
    process->host = owner == PROCESS_RUN ? signals_host(&base_host_real) : base_host_real;
    process->listener = process->far_listener = -1;
    process->text = text;
    gethostname(process->host_name, sizeof process->host_name - 1);
    return process;
}

void process_tell(const struct base_log *log, int code, const char *text)
{
    base_log(log, BASE_LOG_ERROR, "%s: %s (%s)", text, manta_error_text(code),
             manta_error_name(code));
}

/* Nobody listening, or not in time, is no reason not to start. */
static void open_report(struct process *process)
{
    const struct launcher *launcher = &process->launcher;
    bool is_first = launcher->rank == 0 || launcher->kind == LAUNCHER_NONE;
    if (!process->settings.is_alone && is_first) {
        int code = report_open(getenv(REPORT_VARIABLE),
                               process->owner == PROCESS_RUN ? REPORT_RUN : REPORT_GUEST,
                               &process->report);
        if (code != MANTA_OK) {
            base_log(&process->log, BASE_LOG_WARN,
                     "cannot report to manta run (%s): its exit code will be the launcher's",
                     manta_error_name(code));
        }
    }
}

/* Between the settings, which cost nothing, and the driver. */
static int start(struct process *process, bool *ret_is_speaker)
{
    process->deadline_ns =
        base_deadline_after(base_now_ns(&process->host), process->settings.launch_timeout_ns);
    process->host.spin_ns = process->settings.spin_ns;
    if (!process->settings.is_alone) {
        process->launcher = launcher_detect((const char *const *)environ);
        *ret_is_speaker = process->launcher.rank == 0 ||
                          process->launcher.rank == LAUNCHER_RANK_UNKNOWN || process->mpi_comm;
    }
    open_report(process);
    int code = prepare(process, *ret_is_speaker);
    if (process->size) {
        *ret_is_speaker = process->rank == 0;
    }
    if (code == MANTA_OK) {
        code = start_together(process);
    } else if (process->has_boot && *ret_is_speaker) {
        process_tell(&process->log, code,
                     process->text); /* before the others' end takes this rank along */
        *ret_is_speaker = false;
    }
    return code;
}

int process_start(enum process_owner owner, const manta_config *config, struct base_log *log,
                  struct process **ret_process, bool *ret_is_speaker, char *text)
{
    struct process *process = make(owner, log, text);
    *ret_is_speaker = true;
    if (!process) {
        return MANTA_E_NOMEM;
    }
    int code = read_settings(process);
    if (code == MANTA_OK) {
        log->level = (int)process->settings.log_level;
        process->log = *log;
        if (config) {
            process->settings.workers =
                config->workers ? config->workers : process->settings.workers;
            process->mpi_comm = config->mpi_comm;
        }
        code = start(process, ret_is_speaker);
    }
    process->text = NULL;
    if (code == MANTA_OK) {
        *ret_process = process;
        return MANTA_OK;
    }
    report_end(process->report, 1, 0, text);
    if (process->core) {
        core_stop(process->core, code);
        leave_core(process);
    }
    free_process(process);
    return code;
}

uint32_t process_rank(const struct process *process)
{
    return process->rank;
}

struct watch *process_watch(struct process *process)
{
    return process->watch;
}

int process_meet(struct process *process)
{
    char text[PROCESS_TEXT_MAX];
    return watch_meet(process->watch, MANTA_OK, BASE_FOREVER, text, sizeof text);
}

/* After a job that went on without some of its ranks. */
static void tell_redone(struct process *process)
{
    struct core_redone redone = core_get_redone(process->core);
    process->deaths = redone.deaths;
    if (process->rank == 0 && redone.deaths) {
        base_log(&process->log, BASE_LOG_WARN,
                 "%u of %u ranks died; %llu tasks were run again, %llu results of lost parents "
                 "were used on, %llu launches of graphs begun again",
                 redone.deaths, process->size, (unsigned long long)redone.retried,
                 (unsigned long long)redone.adopted, (unsigned long long)redone.relaunched);
    }
}

/* For who asked to see it, of each rank. */
static void tell_spilled(struct process *process)
{
    struct core_stats stats = core_get_stats(process->core);
    if (stats.spilled_bytes || stats.room_waits || stats.evicted_bytes || stats.spill_errors) {
        base_log(
            &process->log, stats.spill_errors ? BASE_LOG_WARN : BASE_LOG_INFO,
            "rank %u spilled %s and read %s back; %llu values and tasks waited for room, %s of "
            "copies were given up, %llu reads and writes failed",
            process->rank, base_size(stats.spilled_bytes).text,
            base_size(stats.restored_bytes).text, (unsigned long long)stats.room_waits,
            base_size(stats.evicted_bytes).text, (unsigned long long)stats.spill_errors);
    }
}

/* Last chance of a warning; and what happened, for who asked to see it. */
static void tell_ways(struct process *process)
{
    watch_set_far(process->watch, NULL);
    if (process->far && process->comm) {
        far_report(process->far, &process->log);
    }
}

int process_end(struct process *process, int code)
{
    int ended;
    if (!watch_has_ended(process->watch, &ended)) {
        code = core_finish(process->core, code);
        tell_redone(process);
        tell_spilled(process);
    }
    int hooked = hooks_run(MANTA_AT_STOP);
    if (hooked) {
        base_log(&process->log, BASE_LOG_WARN, "a stop hook on rank %u returned %d", process->rank,
                 hooked);
    }
    tell_ways(process);
    watch_leave(process->watch);
    leave_core(process);
    if (watch_has_ended(process->watch, &ended)) {
        code = ended;
        process->has_boot = false; /* its end is collective, and somebody may be missing */
    }
    report_end(process->report, code, process->deaths, NULL);
    free_process(process);
    return code;
}
