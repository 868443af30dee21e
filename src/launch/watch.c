/*
 * The watch thread and what others ask of it.
 *
 * One lock guards everything; it is held for moments and by no one who waits for another rank, so
 * the thread is always there within microseconds. Under it core_stop takes the core's baton; nobody
 * who holds a baton calls in here, so the order is always lock, then baton.
 *
 * Rank 0 speaks of deaths only after the meeting that ends the start. By then every rank has said
 * who is to hear of them, so none misses one.
 *
 * Invariants: a job ends once (end_job), and the first reason counts. What a rank said before its
 * process ended is read before its end is judged, so one that left in order is never taken for
 * dead. After watch_leave nothing that others do ends this process any more.
 */
#include "launch/watch.h"

#include "base/alloc.h"
#include "core/core.h"
#include "launch/death.h"

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

enum { EVENTS = 16, SPEAKERS = 4, CODE_TERMINATED = 143, CODE_DIED = 1 };

enum source { SOURCE_SIGNAL, SOURCE_COMMAND, SOURCE_PARENT, SOURCE_PROCESS, SOURCE_LINE };

enum note_kind { NOTE_HERE = 1, NOTE_GO, NOTE_END, NOTE_LEAVE, NOTE_DEATH, NOTE_ALIVE };

/* Signs of life in the time after whose silence a rank counts as dead; and how much longer that is
 * on the own host, where an end is seen at once and silence means that somebody has stopped it. */
enum { BEATS = 4, NEAR_PATIENCE = 5 };

#define NOBODY UINT32_MAX

/* What is said on a line. */
struct note {
    uint32_t kind;
    int32_t code;     /* NOTE_DEATH: whose */
    uint32_t speaker; /* NOTE_DEATH: who can tell what it ran; NOBODY */
    char text[MANTA_ERROR_TEXT_MAX + MANTA_ERROR_HOST_MAX];
};

struct other {
    struct link link;
    uint32_t pid;
    uint32_t node; /* the lowest rank of its node */
    bool has_left;
    char host[MANTA_ERROR_HOST_MAX];
    uint64_t heard_ns; /* when it last said something */
    uint32_t got;      /* bytes of the note that is coming; over TCP it may come in pieces */
    union {
        struct note note;
        uint8_t bytes[sizeof(struct note)];
    } coming;
};

struct watch {
    struct watch_options options;
    struct base_thread thread;
    int epoll, signals, commands, parent;
    pthread_mutex_t
        lock; /* guards all below; held for moments, never while waiting for another rank */
    struct rank *core;
    struct other *others; /* by rank; a rank that is not 0 has only that one */
    uint32_t rank, size, other_count;
    bool is_stopping, has_left;
    void (*tell)(void *arg, uint32_t rank); /* of deaths; NULL: they end the job */
    void *tell_arg;
    uint32_t deaths; /* survived */

    uint32_t arrivals; /* rank 0: of the meeting in course */
    uint32_t failed_rank;
    struct note meeting; /* rank 0: the answer so far; elsewhere: the answer */
    uint32_t meetings_over, meetings_joined;
    struct base_park park; /* of the one who meets */

    bool has_ended;
    int end_code;
    char end_text[sizeof((struct note){0}.text)];
    uint64_t force_at_ns;    /* BASE_FOREVER: not ended */
    uint64_t beat_ns;        /* of the last sign of life */
    struct core_pulse pulse; /* of the own core, at a beat */
    uint64_t pulse_ns;       /* since when it is like this */
};

static uint64_t now(const struct watch *watch)
{
    return base_now_ns(watch->options.host);
}

static int listen_to(struct watch *watch, int fd, enum source source, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};
    return fd < 0 || epoll_ctl(watch->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? MANTA_OK
                                                                             : MANTA_E_SYSTEM;
}

static bool is_near(const struct other *other)
{
    return other->link.pidfd >= 0;
}

/* A line that cannot take a note any more is as good as cut: both sides see its end. */
static void say(const struct watch *watch, uint32_t other, const struct note *note)
{
    const struct other *to = &watch->others[other];
    if (to->link.socket < 0 || to->has_left) {
        return;
    }
    ssize_t sent = send(to->link.socket, note, sizeof *note, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)sizeof *note && !is_near(to)) {
        (void)shutdown(to->link.socket, SHUT_RDWR);
    }
}

static void say_all(const struct watch *watch, const struct note *note)
{
    for (uint32_t i = 0; i < watch->other_count; i++) {
        say(watch, i, note);
    }
}

/* The job is over before its time: everybody is told, the core stops, force follows. Lock held. */
static void end_job(struct watch *watch, int code, const char *text)
{
    struct note note = {.kind = NOTE_END, .code = code};
    if (watch->has_ended || watch->has_left) {
        return;
    }
    watch->has_ended = true;
    watch->end_code = code;
    watch->force_at_ns = base_deadline_after(now(watch), watch->options.stop_timeout_ns);
    snprintf(watch->end_text, sizeof watch->end_text, "%s", text);
    snprintf(note.text, sizeof note.text, "%s", text);
    say_all(watch, &note);
    if (watch->core) {
        core_stop(watch->core, code);
    }
    base_park_wake(watch->options.host, &watch->park);
}

static int speaking_level(const struct watch *watch)
{
    return watch->rank < SPEAKERS ? BASE_LOG_ERROR : BASE_LOG_INFO;
}

/* ---- Meetings. Lock held. ------------------------------------------------------------------- */

static void close_meeting(struct watch *watch)
{
    watch->meeting.kind = NOTE_GO;
    say_all(watch, &watch->meeting);
    watch->meetings_over++;
    base_park_wake(watch->options.host, &watch->park);
}

/* Rank 0. */
static void arrive(struct watch *watch, uint32_t rank, const struct note *note)
{
    if (watch->arrivals == 0) {
        watch->meeting = (struct note){0};
    }
    if (note->code && (!watch->meeting.code || rank < watch->failed_rank)) {
        watch->meeting = *note;
        watch->failed_rank = rank;
    }
    if (++watch->arrivals == watch->size) {
        watch->arrivals = 0;
        close_meeting(watch);
    }
}

/* ---- What the others say and do. Lock held. ------------------------------------------------- */

/* " while it ran NAME", if this rank can see that. */
static void describe_last(const struct watch *watch, uint32_t dead, char *text, size_t size)
{
    text[0] = 0;
    if (watch->core) {
        core_describe_last(watch->core, dead, text, size);
    }
}

static void tell_last(const struct watch *watch, uint32_t dead)
{
    char text[MANTA_ERROR_TEXT_MAX];
    describe_last(watch, dead, text, sizeof text);
    if (text[0]) {
        base_log(&watch->options.log, BASE_LOG_WARN, "rank %u died%s", dead, text);
    }
}

static void tell_death(struct watch *watch, uint32_t dead)
{
    watch->deaths++;
    if (watch->tell) {
        watch->tell(watch->tell_arg, dead);
    }
}

static void hear(struct watch *watch, uint32_t other, struct note *note)
{
    note->text[sizeof note->text - 1] = 0;
    switch (note->kind) {
    case NOTE_HERE:
        if (watch->rank == 0) {
            arrive(watch, other, note);
        }
        break;
    case NOTE_GO:
        watch->meeting = *note;
        watch->meetings_over++;
        base_park_wake(watch->options.host, &watch->park);
        break;
    case NOTE_END:
        base_log(&watch->options.log, BASE_LOG_INFO, "rank %u: the job ends: %s", watch->rank,
                 note->text);
        end_job(watch, note->code, note->text);
        break;
    case NOTE_LEAVE:
        watch->others[other].has_left = true;
        break;
    case NOTE_DEATH:
        if (watch->rank != 0) {
            tell_death(watch, (uint32_t)note->code);
        }
        if (note->speaker == watch->rank) {
            tell_last(watch, (uint32_t)note->code);
        }
        break;
    default:
        break;
    }
}

/* False: the other side has closed the line. */
static bool read_line(struct watch *watch, uint32_t other)
{
    struct other *from = &watch->others[other];
    ssize_t got;
    while ((got = recv(from->link.socket, from->coming.bytes + from->got,
                       sizeof from->coming - from->got, MSG_DONTWAIT)) > 0) {
        from->got += (uint32_t)got;
        from->heard_ns = now(watch);
        if (from->got == sizeof from->coming) {
            from->got = 0;
            hear(watch, other, &from->coming.note);
        }
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Who is left on the node of a dead rank. */
static uint32_t neighbour_of(const struct watch *watch, uint32_t dead)
{
    for (uint32_t i = 0; i < watch->other_count; i++) {
        if (watch->others[i].node == watch->others[dead].node && !watch->others[i].has_left) {
            return i;
        }
    }
    return NOBODY;
}

/* Rank 0 noticed it and speaks for all; of what ran on another node somebody there does. */
static void survive(struct watch *watch, uint32_t dead, const char *text)
{
    struct note note = {
        .kind = NOTE_DEATH, .code = (int32_t)dead, .speaker = neighbour_of(watch, dead)};
    base_log(&watch->options.log, BASE_LOG_WARN, "%s; the others do its work again", text);
    say_all(watch, &note);
    tell_death(watch, dead);
}

static bool is_survivable(const struct watch *watch, uint32_t other)
{
    return watch->rank == 0 && other != 0 && watch->tell && watch->meetings_over;
}

static void note_death(struct watch *watch, uint32_t other)
{
    struct other *dead = &watch->others[other];
    char how[96], last[MANTA_ERROR_TEXT_MAX], text[sizeof watch->end_text];
    bool has_left = dead->has_left;
    dead->has_left = true;
    if (has_left || watch->has_ended || watch->has_left) {
        return;
    }
    if (is_near(dead)) {
        death_describe(dead->link.pidfd, dead->pid, how, sizeof how);
    } else {
        snprintf(how, sizeof how, "has ended, or cannot be reached any more");
    }
    describe_last(watch, other, last, sizeof last);
    snprintf(text, sizeof text, "rank %u on %s (process %u) %s%s", other, dead->host, dead->pid,
             how, last);
    if (is_survivable(watch, other)) {
        survive(watch, other, text);
        return;
    }
    base_log(&watch->options.log, speaking_level(watch), "%s; the job ends", text);
    end_job(watch, CODE_DIED, text);
}

/* What it said before it ended counts. */
static void on_process_end(struct watch *watch, uint32_t other)
{
    struct other *gone = &watch->others[other];
    if (gone->link.socket >= 0) {
        (void)read_line(watch, other);
    }
    epoll_ctl(watch->epoll, EPOLL_CTL_DEL, gone->link.pidfd, NULL);
    note_death(watch, other);
}

/* Whoever is still there sees the end of the line, and leaves. */
static void cut_line(struct watch *watch, uint32_t other)
{
    int socket = watch->others[other].link.socket;
    epoll_ctl(watch->epoll, EPOLL_CTL_DEL, socket, NULL);
    if (!is_near(&watch->others[other])) {
        (void)shutdown(socket, SHUT_RDWR);
        note_death(watch, other);
    }
}

/* On the node a closed line alone says little: its process is about to end, which says how. From
 * another host it is all there is. */
static void on_line(struct watch *watch, uint32_t other)
{
    if (!read_line(watch, other)) {
        cut_line(watch, other);
    }
}

/* ---- Signs of life. Lock held. -------------------------------------------------------------- */

static uint64_t beat_step_ns(const struct watch *watch)
{
    return watch->options.silence_ns / BEATS;
}

/* It has said nothing for too long. On the node it is ended, and its end then tells the rest;
 * elsewhere it is cut off, and ends when it notices. */
static void fence(struct watch *watch, uint32_t other)
{
    struct other *silent = &watch->others[other];
    base_log(&watch->options.log, BASE_LOG_WARN,
             "rank %u on %s (process %u) says nothing any more (MANTA_SILENCE): it counts as dead",
             other, silent->host, silent->pid);
    if (is_near(silent)) {
        (void)syscall(SYS_pidfd_send_signal, silent->link.pidfd, SIGKILL, NULL, 0);
    } else {
        cut_line(watch, other);
    }
}

static bool is_silent(const struct watch *watch, const struct other *other, uint64_t now_ns)
{
    uint64_t patience_ns = watch->options.silence_ns * (is_near(other) ? NEAR_PATIENCE : 1);
    return other->link.socket >= 0 && !other->has_left && now_ns > other->heard_ns + patience_ns;
}

static void forgive_all(struct watch *watch, uint64_t now_ns)
{
    watch->pulse_ns = now_ns;
    for (uint32_t i = 0; i < watch->other_count; i++) {
        watch->others[i].heard_ns = now_ns;
    }
}

/* What has come and was not read yet counts. */
static void judge(struct watch *watch, uint32_t other, uint64_t now_ns)
{
    if (!is_silent(watch, &watch->others[other], now_ns)) {
        return;
    }
    if (!read_line(watch, other)) {
        cut_line(watch, other);
    } else if (is_silent(watch, &watch->others[other], now_ns)) {
        fence(watch, other);
    }
}

static bool is_stuck(struct watch *watch, uint64_t now_ns)
{
    if (!watch->core) {
        return false;
    }
    struct core_pulse pulse = core_get_pulse(watch->core);
    if (!pulse.is_held || pulse.turns != watch->pulse.turns) {
        watch->pulse_ns = now_ns;
    }
    watch->pulse = pulse;
    return now_ns > watch->pulse_ns + NEAR_PATIENCE * watch->options.silence_ns;
}

/* This process lives, but its core does not: a thread has it and does not come back. Nothing that
 * others send is answered, so they are told by the end of the process, where that is ours. */
static void check_core(struct watch *watch, uint64_t now_ns)
{
    if (!is_stuck(watch, now_ns) || watch->has_ended) {
        return;
    }
    base_log(&watch->options.log, BASE_LOG_ERROR,
             "rank %u on %s is stuck in the runtime (a thread keeps it and does not come back): it "
             "counts as dead",
             watch->rank, watch->options.host_name);
    if (watch->rank == 0 || watch->options.owner == WATCH_GUEST) {
        end_job(watch, CODE_DIED, "a rank was stuck in the runtime");
    } else {
        _exit(CODE_DIED);
    }
}

/* Says and expects a sign of life. A rank that was itself stopped, or had no core for some time, has
 * no right to judge. */
static void beat(struct watch *watch)
{
    struct note note = {.kind = NOTE_ALIVE};
    uint64_t now_ns = now(watch);
    if (!watch->meetings_over || watch->has_left || now_ns < watch->beat_ns + beat_step_ns(watch)) {
        return;
    }
    if (now_ns > watch->beat_ns + 2 * beat_step_ns(watch)) {
        forgive_all(watch, now_ns);
    }
    watch->beat_ns = now_ns;
    check_core(watch, now_ns);
    say_all(watch, &note);
    for (uint32_t i = 0; i < watch->other_count && !watch->has_ended; i++) {
        judge(watch, i, now_ns);
    }
}

static void on_parent_end(struct watch *watch)
{
    epoll_ctl(watch->epoll, EPOLL_CTL_DEL, watch->parent, NULL);
    base_log(&watch->options.log, BASE_LOG_INFO, "rank %u: the launcher has ended; the job ends",
             watch->rank);
    end_job(watch, CODE_TERMINATED, "the launcher has ended");
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
             "parked, %llu inlined",
             watch->rank, watch->options.host_name, (unsigned long long)counts.tasks,
             (unsigned long long)counts.runs, (unsigned long long)counts.borrows,
             (unsigned long long)counts.scopes, (unsigned long long)counts.values,
             (unsigned long long)counts.maps, (unsigned long long)stats.submitted,
             (unsigned long long)stats.completed, (unsigned long long)stats.executed,
             (unsigned long long)stats.retried, (unsigned long long)stats.adopted,
             (unsigned long long)stats.parked, (unsigned long long)stats.inlined);
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
        end_job(watch, CODE_TERMINATED, "a rank got SIGTERM");
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
        on_process_end(watch, index);
        break;
    case SOURCE_LINE:
        on_line(watch, index);
        break;
    }
}

/* Milliseconds until force; 0: now; -1: no reason. Lock held. */
static int time_left_ms(const struct watch *watch)
{
    if (!watch->has_ended || watch->options.owner != WATCH_OWN_PROCESS) {
        return -1;
    }
    uint64_t at_ns = now(watch);
    return at_ns >= watch->force_at_ns
               ? 0
               : (int)MT_MIN((watch->force_at_ns - at_ns) / 1000000 + 1, 60000u);
}

MT_NORETURN static void force(struct watch *watch)
{
    base_log(&watch->options.log, BASE_LOG_WARN,
             "rank %u on %s still ran when the time to stop was over; ended by force", watch->rank,
             watch->options.host_name);
    _exit(watch->end_code);
}

/* The epoll timeout: the time to force, or the next sign of life. */
static int next_wake_ms(const struct watch *watch, int left_ms)
{
    int beat_ms = watch->other_count ? (int)(beat_step_ns(watch) / 1000000) + 1 : -1;
    if (left_ms < 0 || beat_ms < 0) {
        return MT_MAX(left_ms, beat_ms);
    }
    return MT_MIN(left_ms, beat_ms);
}

static void watch_main(void *arg)
{
    struct watch *watch = arg;
    struct epoll_event events[EVENTS];
    pthread_mutex_lock(&watch->lock);
    while (!watch->is_stopping) {
        int left_ms = time_left_ms(watch);
        if (left_ms == 0) {
            force(watch);
        }
        beat(watch);
        left_ms = next_wake_ms(watch, left_ms);
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
        listen_to(watch, watch->signals, SOURCE_SIGNAL, 0) ||
        listen_to(watch, watch->commands, SOURCE_COMMAND, 0)) {
        return MANTA_E_SYSTEM;
    }
    return listen_to(watch, watch->parent, SOURCE_PARENT, 0);
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
        code = listen_to(watch, watch->others[i].link.socket, SOURCE_LINE, i);
        code = code ? code : listen_to(watch, watch->others[i].link.pidfd, SOURCE_PROCESS, i);
    }
    return code;
}

int watch_adopt(struct watch *watch, uint32_t rank, uint32_t size, const struct link *links,
                const union card_page *cards)
{
    uint32_t count = rank == 0 ? size : 1;
    struct other *others = base_alloc(count * sizeof *others);
    if (!others) {
        return MANTA_E_NOMEM;
    }
    pthread_mutex_lock(&watch->lock);
    watch->rank = rank;
    watch->size = size;
    watch->others = others;
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

static void join_meeting(struct watch *watch, int code, const char *text)
{
    struct note note = {.kind = NOTE_HERE, .code = code};
    watch->meetings_joined++;
    if (code) {
        snprintf(note.text, sizeof note.text, "%s", text);
    }
    if (watch->rank == 0) {
        arrive(watch, 0, &note);
    } else {
        say(watch, 0, &note);
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
    if (now(watch) >= deadline_ns) {
        *ret_code = MANTA_E_TIMEOUT;
        snprintf(text, text_size, "rank %u waited for the other ranks in vain", watch->rank);
        return true;
    }
    return false;
}

int watch_meet(struct watch *watch, int code, uint64_t timeout_ns, char *text, size_t text_size)
{
    const struct base_host *host = watch->options.host;
    uint64_t deadline_ns = base_deadline_after(now(watch), timeout_ns);
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
    say_all(watch, &note);
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
