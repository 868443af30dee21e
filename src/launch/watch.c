/*
 * The watch thread and what others ask of it.
 *
 * One lock guards everything; it is held for moments and by no one who waits for another rank, so
 * the thread is always there within microseconds. Under it core_stop takes the core's baton; nobody
 * who holds a baton calls in here, so the order is always lock, then baton.
 *
 * What comes over the lines is in watch_lines.c. After watch_leave nothing that others do ends this
 * process any more.
 */
#include "base/alloc.h"
#include "launch/far.h"
#include "launch/watch_state.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVENTS = 16 };

static void on_parent_end(struct watch *watch)
{
    epoll_ctl(watch->epoll, EPOLL_CTL_DEL, watch->parent, NULL);
    base_log(&watch->options.log, BASE_LOG_INFO, "rank %u: the launcher has ended; the job ends",
             watch->rank);
    watch_end_job(watch, CODE_TERMINATED, "the launcher has ended");
}

/* ---- Signals. Lock held. -------------------------------------------------------------------- */

static void report(const struct watch *watch)
{
    if (!watch->core || !watch->options.log.write) {
        return;
    }
    struct core_counts counts = core_count(watch->core);
    struct core_stats stats = core_get_stats(watch->core);
    struct base_log always = watch->options.log;
    always.level = BASE_LOG_INFO;
    base_log(&always, BASE_LOG_INFO,
             "rank %u on %s: live: %llu tasks, %llu runs, %llu borrows, %llu scopes, %llu values, "
             "%llu maps; so far: "
             "%llu submitted, %llu completed, %llu executed, %llu retried, %llu adopted, %llu "
             "parked, %llu inlined; %llu bytes spilled, %llu restored, %llu evicted, %llu waits "
             "for room",
             watch->rank, watch->options.host_name, (unsigned long long)counts.tasks,
             (unsigned long long)counts.runs, (unsigned long long)counts.borrows,
             (unsigned long long)counts.scopes, (unsigned long long)counts.values,
             (unsigned long long)counts.maps, (unsigned long long)stats.submitted,
             (unsigned long long)stats.completed, (unsigned long long)stats.executed,
             (unsigned long long)stats.retried, (unsigned long long)stats.adopted,
             (unsigned long long)stats.parked, (unsigned long long)stats.inlined,
             (unsigned long long)stats.spilled_bytes, (unsigned long long)stats.restored_bytes,
             (unsigned long long)stats.evicted_bytes, (unsigned long long)stats.room_waits);
    if (watch->far) {
        far_report(watch->far, &always);
    }
}

static void on_signal(struct watch *watch)
{
    uint64_t bits;
    if (read(watch->signals, &bits, sizeof bits) != (ssize_t)sizeof bits) {
        return;
    }
    if (bits >= WATCH_SIGNAL_REPORT) {
        report(watch);
    }
    if ((bits & (WATCH_SIGNAL_REPORT - 1)) && !watch->has_ended && !watch->has_left) {
        int level = watch->rank == 0 ? BASE_LOG_WARN : BASE_LOG_INFO;
        base_log(&watch->options.log, level, "rank %u on %s got SIGTERM; the job ends%s",
                 watch->rank, watch->options.host_name,
                 watch->deaths ? " (the launcher ends a job of which a rank died: `mpirun "
                                 "--enable-recovery` does not)"
                               : "");
        watch_end_job(watch, CODE_TERMINATED, "a rank got SIGTERM");
    }
}

/* ---- The thread ----------------------------------------------------------------------------- */

static void handle(struct watch *watch, uint64_t event)
{
    uint32_t index = (uint32_t)event;
    switch ((enum source)(event >> 32)) {
    case SOURCE_SIGNAL:
        on_signal(watch);
        break;
    case SOURCE_COMMAND: {
        uint64_t count;
        (void)!read(watch->commands, &count, sizeof count);
        break;
    }
    case SOURCE_PARENT:
        on_parent_end(watch);
        break;
    case SOURCE_PROCESS:
        watch_on_process_end(watch, index);
        break;
    case SOURCE_LINE:
        watch_on_line(watch, index);
        break;
    }
}

/* When what still runs is ended by force. Lock held. */
static uint64_t force_ns(const struct watch *watch)
{
    bool is_ours = watch->options.owner == WATCH_OWN_PROCESS;
    return watch->has_ended && is_ours ? watch->force_at_ns : BASE_FOREVER;
}

MT_NORETURN static void force(struct watch *watch)
{
    base_log(&watch->options.log, BASE_LOG_WARN,
             "rank %u on %s still ran when the time to stop was over; ended by force", watch->rank,
             watch->options.host_name);
    _exit(watch->end_code);
}

/* The epoll timeout: until force, the next sign of life or the end of somebody's patience. */
static int next_wake_ms(const struct watch *watch)
{
    uint64_t at_ns = MT_MIN(force_ns(watch), watch_next_beat_ns(watch)), now_ns = watch_now(watch);
    if (at_ns == BASE_FOREVER) {
        return -1;
    }
    return at_ns < now_ns ? 0 : (int)MT_MIN((at_ns - now_ns) / 1000000 + 1, 60000u);
}

static void watch_main(void *arg)
{
    struct watch *watch = arg;
    struct epoll_event events[EVENTS];
    pthread_mutex_lock(&watch->lock);
    while (!watch->is_stopping) {
        if (watch_now(watch) >= force_ns(watch)) {
            force(watch);
        }
        watch_beat(watch);
        int left_ms = next_wake_ms(watch);
        pthread_mutex_unlock(&watch->lock);
        int count = epoll_wait(watch->epoll, events, EVENTS, left_ms);
        pthread_mutex_lock(&watch->lock);
        for (int i = 0; i < count; i++) {
            handle(watch, events[i].data.u64);
        }
    }
    pthread_mutex_unlock(&watch->lock);
}

/* ---- For other threads ----------------------------------------------------------------- */

static int open_all(struct watch *watch)
{
    pid_t parent = getppid();
    watch->epoll = epoll_create1(EPOLL_CLOEXEC);
    watch->signals = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch->commands = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->options.has_launcher && parent > 1) {
        watch->parent = (int)syscall(SYS_pidfd_open, parent, 0);
    }
    if (watch->epoll < 0 || watch->signals < 0 || watch->commands < 0 ||
        watch_listen_to(watch, watch->signals, SOURCE_SIGNAL, 0) ||
        watch_listen_to(watch, watch->commands, SOURCE_COMMAND, 0)) {
        return MANTA_E_SYSTEM;
    }
    return watch_listen_to(watch, watch->parent, SOURCE_PARENT, 0);
}

static void close_all(struct watch *watch)
{
    const int fds[] = {watch->epoll, watch->signals, watch->commands, watch->parent};
    for (size_t i = 0; i < MT_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    for (uint32_t i = 0; i < watch->other_count; i++) {
        link_close(&watch->others[i].link);
    }
    pthread_mutex_destroy(&watch->lock);
    base_free(watch->others);
    base_free(watch->is_told);
    base_free(watch);
}

int watch_start(const struct watch_options *options, struct watch **ret_watch)
{
    struct base_thread_options thread = {.name = "manta-watch", .stack_bytes = 128 * 1024};
    struct watch *watch = base_alloc(sizeof *watch);
    if (!watch) {
        return MANTA_E_NOMEM;
    }
    watch->options = *options;
    watch->force_at_ns = BASE_FOREVER;
    watch->rank = options->rank;
    watch->lost = NOBODY;
    watch->size = 1;
    watch->epoll = watch->signals = watch->commands = watch->parent = -1;
    pthread_mutex_init(&watch->lock, NULL);
    int code = open_all(watch);
    if (code == MANTA_OK) {
        code = options->host->thread_start(options->host->self, &watch->thread, &thread, watch_main,
                                           watch);
    }
    if (code != MANTA_OK) {
        close_all(watch);
        return code;
    }
    *ret_watch = watch;
    return MANTA_OK;
}

int watch_signal_fd(const struct watch *watch)
{
    return watch->signals;
}

/* Mostly that of the rank before. */
static uint32_t first_of_node(const struct watch *watch, const union card_page *cards,
                              uint32_t rank)
{
    uint32_t first = 0;
    if (rank > 0 && card_is_near(&cards[rank - 1].card, &cards[rank].card)) {
        return watch->others[rank - 1].node;
    }
    while (!card_is_near(&cards[first].card, &cards[rank].card)) {
        first++;
    }
    return first;
}

static int adopt(struct watch *watch, const struct link *links, const union card_page *cards)
{
    int code = MANTA_OK;
    for (uint32_t i = 0; i < watch->other_count; i++) {
        watch->others[i] = (struct other){
            .link = links[i], .pid = cards[i].card.pid, .node = first_of_node(watch, cards, i)};
        snprintf(watch->others[i].host, sizeof watch->others[i].host, "%s", cards[i].card.host);
    }
    for (uint32_t i = 0; i < watch->other_count && code == MANTA_OK; i++) {
        code = watch_listen_to(watch, watch->others[i].link.socket, SOURCE_LINE, i);
        code = code ? code : watch_listen_to(watch, watch->others[i].link.pidfd, SOURCE_PROCESS, i);
    }
    return code;
}

int watch_adopt(struct watch *watch, uint32_t rank, uint32_t size, const struct link *links,
                const union card_page *cards)
{
    uint32_t count = rank == 0 ? size : 1;
    struct other *others = base_alloc(count * sizeof *others);
    uint8_t *is_told = base_alloc(size);
    if (!others || !is_told) {
        base_free(others);
        base_free(is_told);
        return MANTA_E_NOMEM;
    }
    pthread_mutex_lock(&watch->lock);
    watch->rank = rank;
    watch->size = size;
    watch->others = others;
    watch->is_told = is_told;
    watch->other_count = count;
    int code = adopt(watch, links, cards);
    pthread_mutex_unlock(&watch->lock);
    return code;
}

void watch_survive(struct watch *watch, void (*tell)(void *arg, uint32_t rank), void *arg)
{
    pthread_mutex_lock(&watch->lock);
    watch->tell = tell;
    watch->tell_arg = arg;
    pthread_mutex_unlock(&watch->lock);
}

void watch_set_core(struct watch *watch, struct rank *core)
{
    pthread_mutex_lock(&watch->lock);
    watch->core = core;
    if (core && watch->has_ended) {
        core_stop(core, watch->end_code);
    }
    pthread_mutex_unlock(&watch->lock);
}

void watch_set_far(struct watch *watch, struct far *far)
{
    pthread_mutex_lock(&watch->lock);
    watch_take_warning(watch);
    watch->far = far;
    pthread_mutex_unlock(&watch->lock);
}

static void join_meeting(struct watch *watch, int code, const char *text)
{
    struct note note = {.kind = NOTE_HERE, .code = code};
    watch->meetings_joined++;
    if (code) {
        snprintf(note.text, sizeof note.text, "%s", text);
    }
    if (watch->rank == 0) {
        watch_arrive(watch, 0, &note);
    } else {
        watch_say(watch, 0, &note);
    }
}

/* True when the wait is over. Lock held. */
static bool is_met(const struct watch *watch, uint64_t deadline_ns, int *ret_code, char *text,
                   size_t text_size)
{
    if (watch->meetings_over >= watch->meetings_joined) {
        *ret_code = watch->meeting.code;
        if (*ret_code) {
            snprintf(text, text_size, "%s", watch->meeting.text);
        }
        return true;
    }
    if (watch->has_ended) {
        *ret_code = watch->end_code == CODE_TERMINATED ? MANTA_E_SHUTDOWN : MANTA_E_RANK;
        snprintf(text, text_size, "%s", watch->end_text);
        return true;
    }
    if (watch_now(watch) >= deadline_ns) {
        *ret_code = MANTA_E_TIMEOUT;
        snprintf(text, text_size, "rank %u waited for the other ranks in vain", watch->rank);
        return true;
    }
    return false;
}

int watch_meet(struct watch *watch, int code, uint64_t timeout_ns, char *text, size_t text_size)
{
    const struct base_host *host = watch->options.host;
    uint64_t deadline_ns = base_deadline_after(watch_now(watch), timeout_ns);
    pthread_mutex_lock(&watch->lock);
    join_meeting(watch, code, text);
    while (!is_met(watch, deadline_ns, &code, text, text_size)) {
        pthread_mutex_unlock(&watch->lock);
        base_park_wait(host, &watch->park, deadline_ns);
        pthread_mutex_lock(&watch->lock);
    }
    pthread_mutex_unlock(&watch->lock);
    return code;
}

bool watch_has_ended(struct watch *watch, int *ret_code)
{
    pthread_mutex_lock(&watch->lock);
    bool has_ended = watch->has_ended;
    if (has_ended) {
        *ret_code = watch->end_code;
    }
    pthread_mutex_unlock(&watch->lock);
    return has_ended;
}

void watch_leave(struct watch *watch)
{
    struct note note = {.kind = NOTE_LEAVE};
    pthread_mutex_lock(&watch->lock);
    watch_say_all(watch, &note);
    watch->has_left = true;
    pthread_mutex_unlock(&watch->lock);
}

void watch_destroy(struct watch *watch)
{
    uint64_t one = 1;
    if (!watch) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->is_stopping = true;
    pthread_mutex_unlock(&watch->lock);
    (void)!write(watch->commands, &one, sizeof one);
    watch->options.host->thread_join(watch->options.host->self, &watch->thread);
    close_all(watch);
}
