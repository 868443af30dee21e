/*
 * What the ranks say to each other over their lines, and what their silence and their ends mean:
 * meetings, deaths, signs of life. Rank 0 has a line to every other rank, which has that one only.
 *
 * Rank 0 speaks of deaths only after the meeting that ends the start. By then every rank has said
 * who is to hear of them, so none misses one.
 *
 * Invariants: a job ends once (watch_end_job), and the first reason counts. What a rank said before
 * its process ended is read before its end is judged, so one that left in order is never taken for
 * dead.
 */
#include "launch/death.h"
#include "launch/far.h"
#include "launch/watch_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPEAKERS = 4 };

/* Signs of life in the time after whose silence a rank counts as dead; and how much longer that is
 * on the own host, where an end is seen at once and silence means that somebody has stopped it. */
enum { BEATS = 4, NEAR_PATIENCE = 5 };

uint64_t watch_now(const struct watch *watch)
{
    return base_now_ns(watch->options.host);
}

int watch_listen_to(struct watch *watch, int fd, enum source source, uint32_t index)
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
void watch_say(const struct watch *watch, uint32_t other, const struct note *note)
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

void watch_say_all(const struct watch *watch, const struct note *note)
{
    for (uint32_t i = 0; i < watch->other_count; i++) {
        watch_say(watch, i, note);
    }
}

/* The job is over before its time: everybody is told, the core stops, force follows. Lock held. */
void watch_end_job(struct watch *watch, int code, const char *text)
{
    struct note note = {.kind = NOTE_END, .code = code};
    if (watch->has_ended || watch->has_left) {
        return;
    }
    watch->has_ended = true;
    watch->end_code = code;
    watch->force_at_ns = base_deadline_after(watch_now(watch), watch->options.stop_timeout_ns);
    snprintf(watch->end_text, sizeof watch->end_text, "%s", text);
    snprintf(note.text, sizeof note.text, "%s", text);
    watch_say_all(watch, &note);
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
    watch_say_all(watch, &watch->meeting);
    watch->meetings_over++;
    base_park_wake(watch->options.host, &watch->park);
}

/* Rank 0. */
void watch_arrive(struct watch *watch, uint32_t rank, const struct note *note)
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
    watch->is_told[dead] = 1;
    if (watch->tell) {
        watch->tell(watch->tell_arg, dead);
    }
}

/* Rank 0 tells the first that it hears of. */
static void tell_warning(struct watch *watch, const struct note *note)
{
    if (watch->rank == 0 && !watch->has_warned) {
        watch->has_warned = true;
        base_log(&watch->options.log, BASE_LOG_WARN, "%s", note->text);
    }
}

void watch_take_warning(struct watch *watch)
{
    struct note note = {.kind = NOTE_WARNING};
    if (!watch->far || !far_take_warning(watch->far, note.text, sizeof note.text)) {
        return;
    }
    if (watch->rank == 0) {
        tell_warning(watch, &note);
    } else {
        watch_say(watch, 0, &note);
    }
}

static void hear_lost(struct watch *watch, uint32_t by, uint32_t lost);

static void hear(struct watch *watch, uint32_t other, struct note *note)
{
    note->text[sizeof note->text - 1] = 0;
    switch (note->kind) {
    case NOTE_HERE:
        if (watch->rank == 0) {
            watch_arrive(watch, other, note);
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
        watch_end_job(watch, note->code, note->text);
        break;
    case NOTE_OUT:
        if (watch->rank != 0) {
            base_log(&watch->options.log, BASE_LOG_WARN, "%s", note->text);
            watch_end_job(watch, CODE_DIED, note->text);
        }
        break;
    case NOTE_LEAVE:
        watch->others[other].has_left = true;
        break;
    case NOTE_DEATH:
        if (watch->rank != 0 && (uint32_t)note->code < watch->size) {
            tell_death(watch, (uint32_t)note->code);
        }
        if (note->speaker == watch->rank) {
            tell_last(watch, (uint32_t)note->code);
        }
        break;
    case NOTE_WARNING:
        tell_warning(watch, note);
        break;
    case NOTE_LOST:
        if (watch->rank == 0) {
            hear_lost(watch, other, (uint32_t)note->code);
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
        from->heard_ns = watch_now(watch);
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
    watch_say_all(watch, &note);
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
    watch_end_job(watch, CODE_DIED, text);
}

/* What it said before it ended counts. */
void watch_on_process_end(struct watch *watch, uint32_t other)
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
void watch_on_line(struct watch *watch, uint32_t other)
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

/* The last that it hears, should it come back. Of rank 0 nobody else decides. */
static void tell_out(const struct watch *watch, uint32_t other, const char *why)
{
    struct note note = {.kind = NOTE_OUT};
    if (watch->rank != 0) {
        return;
    }
    snprintf(note.text, sizeof note.text, "rank %u on %s %s: it counts as dead%s, and ends", other,
             watch->others[other].host, why,
             is_survivable(watch, other) ? ", the others do its work" : "");
    watch_say(watch, other, &note);
}

/* On the node it is ended, and its end then tells the rest; elsewhere it is told and cut off, and
 * ends when it notices. */
static void fence(struct watch *watch, uint32_t other, const char *why)
{
    struct other *out = &watch->others[other];
    base_log(&watch->options.log, BASE_LOG_WARN, "rank %u on %s (process %u) %s: it counts as dead",
             other, out->host, out->pid, why);
    if (is_near(out)) {
        (void)syscall(SYS_pidfd_send_signal, out->link.pidfd, SIGKILL, NULL, 0);
        out->heard_ns = watch_now(watch);
    } else {
        tell_out(watch, other, why);
        cut_line(watch, other);
    }
}

/* One rank's messages do not reach another any more, though it gives signs of life: all must be of
 * one mind about who lives, so it is out for all. */
static void hear_lost(struct watch *watch, uint32_t by, uint32_t lost)
{
    char why[64];
    if (lost == 0 || lost >= watch->other_count || watch->others[lost].has_left ||
        watch->has_ended) {
        return;
    }
    snprintf(why, sizeof why, "cannot be reached by rank %u any more", by);
    fence(watch, lost, why);
}

/* Deaths are noticed by messages too, sooner or later than here; what nobody tells of from one beat
 * to the next is told to rank 0. */
static void report_lost(struct watch *watch)
{
    uint32_t before = watch->lost;
    uint32_t lost = watch->core ? core_find_lost(watch->core, watch->is_told) : NOBODY;
    watch->lost = lost;
    if (lost == NOBODY || lost != before) {
        return;
    }
    if (watch->rank == 0) {
        hear_lost(watch, 0, lost);
    } else if (lost == 0) {
        watch_end_job(watch, CODE_DIED, "rank 0 cannot be reached any more");
    } else {
        struct note note = {.kind = NOTE_LOST, .code = (int32_t)lost};
        watch_say(watch, 0, &note);
    }
}

/* Until when it may be silent. */
static uint64_t patience_end_ns(const struct watch *watch, const struct other *other)
{
    uint64_t patience_ns = watch->options.silence_ns * (is_near(other) ? NEAR_PATIENCE : 1);
    return other->link.socket >= 0 && !other->has_left ? other->heard_ns + patience_ns
                                                       : BASE_FOREVER;
}

static bool is_silent(const struct watch *watch, const struct other *other, uint64_t now_ns)
{
    return now_ns > patience_end_ns(watch, other);
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
    char why[64];
    if (!is_silent(watch, &watch->others[other], now_ns)) {
        return;
    }
    if (!read_line(watch, other)) {
        cut_line(watch, other);
    } else if (is_silent(watch, &watch->others[other], now_ns)) {
        uint64_t silent_ms = (now_ns - watch->others[other].heard_ns) / 1000000;
        snprintf(why, sizeof why, "said nothing for %.1f s (MANTA_SILENCE)",
                 (double)silent_ms / 1000);
        fence(watch, other, why);
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
        watch_end_job(watch, CODE_DIED, "a rank was stuck in the runtime");
    } else {
        _exit(CODE_DIED);
    }
}

static void judge_all(struct watch *watch, uint64_t now_ns)
{
    watch->judge_ns = BASE_FOREVER;
    for (uint32_t i = 0; i < watch->other_count && !watch->has_ended; i++) {
        judge(watch, i, now_ns);
        watch->judge_ns = MT_MIN(watch->judge_ns, patience_end_ns(watch, &watch->others[i]));
    }
}

/* A rank that was itself stopped, or had no core for some time, has no right to judge. */
static void beat(struct watch *watch, uint64_t now_ns)
{
    struct note note = {.kind = NOTE_ALIVE};
    if (now_ns > watch->beat_ns + 2 * beat_step_ns(watch)) {
        forgive_all(watch, now_ns);
    }
    watch->beat_ns = now_ns;
    check_core(watch, now_ns);
    report_lost(watch);
    watch_take_warning(watch);
    watch_say_all(watch, &note);
}

/* What others say later than judge_ns was set only puts off the end of their patience, so nobody
 * is judged too late. */
void watch_beat(struct watch *watch)
{
    uint64_t now_ns = watch_now(watch);
    if (!watch->meetings_over || watch->has_left) {
        return;
    }
    bool is_due = now_ns >= watch->beat_ns + beat_step_ns(watch);
    if (is_due) {
        beat(watch, now_ns);
    }
    if (is_due || now_ns > watch->judge_ns) {
        judge_all(watch, now_ns);
    }
}

uint64_t watch_next_beat_ns(const struct watch *watch)
{
    if (watch->other_count == 0) {
        return BASE_FOREVER;
    }
    if (!watch->meetings_over || watch->has_left) {
        return watch_now(watch) + beat_step_ns(watch);
    }
    uint64_t beat_ns = watch->beat_ns + beat_step_ns(watch);
    return watch->has_ended ? beat_ns : MT_MIN(beat_ns, watch->judge_ns);
}
