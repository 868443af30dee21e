#include "launch/processes.h"

#include "base/alloc.h"
#include "base/units.h"

#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_NS UINT64_C(200000000)
#define RELIEF_NS UINT64_C(1000000000) /* until the end of one shows in the node's memory */
#define RETRY_NS UINT64_C(50000000) /* after the first failure to make a spawner, then twice that */

enum { TRIES_MAX = 5 };

struct processes {
    struct processes_options options;
    struct core_processes face;
    struct rank *core;
    struct spawn *spawn; /* the thread's; NULL: none could be made yet */
    uint32_t tries;      /* that have failed since one was ready */
    uint64_t retry_ns;   /* when to make the next */
    struct base_thread thread;
    bool has_thread;
    int bell;                /* eventfd; -1 before the thread */
    _Atomic bool is_ringing; /* it has been rung, and not yet heard */
    _Atomic bool is_stopping;
    uint64_t look_ns; /* when to look at the memory next */
    uint8_t cpus[SPAWN_CPU_BYTES_MAX];
    uint32_t cpu_bytes; /* 0: not known */
};

/* ---- The thread ------------------------------------------------------------------------------ */

static int make_spawner(struct processes *processes, manta_error *ret_error)
{
    char path[PATH_MAX];
    const struct processes_options *options = &processes->options;
    struct spawn_options spawn = {.host = options->host,
                                  .rank = options->rank,
                                  .cpus = processes->cpu_bytes ? processes->cpus : NULL,
                                  .cpu_bytes = processes->cpu_bytes};
    if (options->log_path) { /* appending is atomic on one node only, so each has its own */
        snprintf(path, sizeof path, "%s.%s", options->log_path, options->host_name);
        spawn.log_path = path;
    }
    return spawn_create(&spawn, &processes->spawn, ret_error);
}

/* What waits goes on waiting for the next try, but not for ever. Returns when that is. */
static uint64_t note_failure(struct processes *processes, const manta_error *error)
{
    if (++processes->tries == TRIES_MAX) {
        processes->tries = 0;
        core_outside_broken(processes->core, error);
        return BASE_FOREVER;
    }
    processes->retry_ns =
        base_now_ns(processes->options.host) + (RETRY_NS << (processes->tries - 1));
    return processes->retry_ns;
}

/* Makes a spawner where there is none, or none that works. Returns when to come back for that,
 * BASE_FOREVER: there is no need to. */
static uint64_t keep_spawner(struct processes *processes)
{
    manta_error error = {.code = MANTA_E_SYSTEM, .text = "the spawner of this rank does not start"};
    enum spawn_state state = processes->spawn ? spawn_state(processes->spawn) : SPAWN_BROKEN;
    if (state != SPAWN_BROKEN) {
        processes->tries = state == SPAWN_READY ? 0 : processes->tries;
        return BASE_FOREVER;
    }
    if (processes->spawn) { /* it has answered all that it was asked */
        spawn_destroy(processes->spawn);
        processes->spawn = NULL;
        return note_failure(processes, &error);
    }
    if (base_now_ns(processes->options.host) < processes->retry_ns) {
        return processes->retry_ns;
    }
    return make_spawner(processes, &error) == MANTA_OK ? BASE_FOREVER
                                                       : note_failure(processes, &error);
}

/* Too little memory is left: the newest goes, then others only after that one's end has shown. */
static void look_at_memory(struct processes *processes)
{
    struct spawn_memory memory;
    uint64_t now_ns = base_now_ns(processes->options.host);
    uint32_t percent = processes->options.reserve_percent;
    if (!percent || now_ns < processes->look_ns) {
        return;
    }
    processes->look_ns = now_ns + LOOK_NS;
    if (spawn_memory_pressure(NULL, &memory) == MANTA_OK &&
        memory.left_bytes < memory.limit_bytes / 100 * percent &&
        core_outside_relieve(processes->core, memory.left_bytes)) {
        processes->look_ns = now_ns + RELIEF_NS;
        base_log(
            &processes->options.log, BASE_LOG_WARN,
            "only %s of %s of the %s's memory are left: rank %u ends its newest command to run "
            "it again later (MANTA_MEMORY_RESERVE)",
            base_size(memory.left_bytes).text, base_size(memory.limit_bytes).text,
            memory.is_cgroup ? "job" : "node", processes->options.rank);
    }
}

static void hear(struct processes *processes, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = processes->bell, .events = POLLIN},
                            {.fd = -1, .events = POLLIN}};
    uint64_t rings;
    fds[1].fd = processes->spawn ? spawn_fd(processes->spawn) : -1;
    if (poll(fds, 2, timeout_ms) > 0 && fds[0].revents) {
        /* In this order: who rings in between is seen in the turn that follows. */
        (void)!read(processes->bell, &rings, sizeof rings);
        atomic_store_explicit(&processes->is_ringing, false, memory_order_seq_cst);
    }
    if (fds[1].revents) {
        (void)spawn_poll(processes->spawn, 0);
    }
}

static int milliseconds_until(const struct processes *processes, uint64_t time_ns)
{
    uint64_t now_ns = base_now_ns(processes->options.host);
    if (time_ns == BASE_FOREVER) {
        return -1;
    }
    return time_ns > now_ns ? (int)((time_ns - now_ns) / 1000000) + 1 : 0;
}

static void main_loop(void *arg)
{
    struct processes *processes = arg;
    if (processes->cpu_bytes) {
        (void)sched_setaffinity(0, processes->cpu_bytes, (const cpu_set_t *)processes->cpus);
    }
    while (!atomic_load_explicit(&processes->is_stopping, memory_order_acquire)) {
        uint64_t retry_ns = keep_spawner(processes);
        uint32_t running = core_outside_turn(processes->core);
        if (running) {
            look_at_memory(processes);
        }
        hear(processes,
             running ? (int)(LOOK_NS / 1000000) : milliseconds_until(processes, retry_ns));
    }
    spawn_destroy(processes->spawn);
}

/* ---- What core calls ------------------------------------------------------------------------- */

static void ring(struct processes *processes)
{
    const uint64_t one = 1;
    if (!atomic_exchange_explicit(&processes->is_ringing, true, memory_order_seq_cst)) {
        (void)!write(processes->bell, &one, sizeof one);
    }
}

static int wake(void *self, struct rank *core)
{
    struct processes *processes = self;
    const struct base_host *host = processes->options.host;
    const struct base_thread_options options = {.name = "manta-spawn"};
    if (processes->has_thread) {
        ring(processes);
        return MANTA_OK;
    }
    if (processes->bell < 0) {
        processes->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (processes->bell < 0) {
        return MANTA_E_LIMIT;
    }
    processes->core = core;
    int code = host->thread_start(host->self, &processes->thread, &options, main_loop, processes);
    processes->has_thread = code == MANTA_OK;
    return code;
}

static bool has_spawner(struct processes *processes)
{
    return processes->spawn && spawn_state(processes->spawn) != SPAWN_BROKEN;
}

static int start_command(void *self, const struct spawn_command *command,
                         const struct spawn_done *done, uint64_t *ret_handle,
                         manta_error *ret_error)
{
    struct processes *processes = self;
    if (!has_spawner(processes)) {
        return MANTA_E_AGAIN;
    }
    return spawn_command(processes->spawn, command, done, ret_handle, ret_error);
}

static int start_isolated(void *self, const struct spawn_isolated *isolated,
                          const struct spawn_done *done, uint64_t *ret_handle,
                          manta_error *ret_error)
{
    struct processes *processes = self;
    if (!has_spawner(processes)) {
        return MANTA_E_AGAIN;
    }
    return spawn_isolated(processes->spawn, isolated, done, ret_handle, ret_error);
}

static void kill_one(void *self, uint64_t handle, uint64_t grace_ns)
{
    struct processes *processes = self;
    (void)spawn_kill(processes->spawn, handle, grace_ns);
}

/* ---- Together -------------------------------------------------------------------------------- */

static void note_cpus(struct processes *processes)
{
    for (uint32_t bytes = 128; bytes <= sizeof processes->cpus; bytes *= 2) {
        if (sched_getaffinity(0, bytes, (cpu_set_t *)processes->cpus) == 0) {
            processes->cpu_bytes = bytes;
            return;
        }
    }
}

int processes_create(const struct processes_options *options, struct processes **ret_processes)
{
    struct processes *processes = base_alloc(sizeof *processes);
    if (!processes) {
        return MANTA_E_NOMEM;
    }
    processes->options = *options;
    processes->bell = -1;
    processes->face =
        (struct core_processes){wake, start_command, start_isolated, kill_one, processes};
    note_cpus(processes);
    *ret_processes = processes;
    return MANTA_OK;
}

const struct core_processes *processes_of(const struct processes *processes)
{
    return &processes->face;
}

void processes_destroy(struct processes *processes)
{
    if (!processes) {
        return;
    }
    if (processes->has_thread) {
        const struct base_host *host = processes->options.host;
        atomic_store_explicit(&processes->is_stopping, true, memory_order_release);
        ring(processes);
        host->thread_join(host->self, &processes->thread);
    }
    if (processes->bell >= 0) {
        close(processes->bell);
    }
    base_free(processes);
}
