/*
 * The end.
 *
 * When the driver is done, rank 0 drops what its root scope holds and cancels what is
 * unfinished there. Then it asks all ranks, round after round, how many messages they
 * have sent and received and whether anything is left to do (Mattern 1987, the four
 * counter method): when two rounds in a row give the same sums, sent equals received,
 * and nobody is busy, no message is under way and every count has come to its end. Then
 * it tells all to stop. The rounds cost O(ranks) messages, once per job.
 */
#include "core/finish.h"

#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/heirs.h"
#include "core/idle.h"
#include "core/map.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/recover.h"
#include "core/replica.h"
#include "core/scope.h"
#include "core/spill.h"
#include "core/stream.h"
#include "core/value.h"
#include "core/wait.h"

enum { STOP_PATIENCE_NS = 1000000000 };

#define ROUND_PAUSE_MIN_NS UINT64_C(20000)
#define ROUND_PAUSE_MAX_NS UINT64_C(2000000)

void finish_stop(struct rank *rank, int code)
{
    rank->is_stopped = 1;
    rank->exit_code = code;
    for (uint32_t i = 0; i < rank->worker_count; i++) {
        idle_wake(rank, &rank->workers[i].sleeper);
    }
    idle_wake(rank, &rank->ticker_sleeper);
    if (rank->finisher) {
        idle_wake(rank, rank->finisher);
    }
    BASE_LIST_EACH(&rank->resting, link)
    {
        idle_wake(rank, MT_CONTAINER(link, struct sleeper, idle));
    }
    comm_wake(rank->comm); /* a driver may be the one at the bell, and in no list */
}

/* Orphans have nobody to go to once the driver is gone. */
static void drop_orphans(struct rank *rank)
{
    BASE_LIST_EACH(&rank->orphans, link)
    {
        struct run *run = MT_CONTAINER(link, struct run, owned);
        if (run->state == RUN_FINISHED) {
            value_drop_refs(rank, run->result);
            exec_run_free(rank, run);
        } else if (!run->is_dismissed || !run->cancelled) {
            run->is_dismissed = 1;
            atomic_store_explicit(&run->cancelled, 1, memory_order_relaxed);
            outside_stop(rank, run);
            source_wake(rank, run);
        }
    }
    home_clear(rank);
    queue_detach_all(rank);
}

static bool is_busy(const struct rank *rank)
{
    return rank->tasks.live || rank->runs.live || rank->borrows.count || rank->homes_live ||
           rank->copies.count || rank->replicas.count || rank->loans ||
           !base_list_is_empty(&rank->gone_replicas) || spill_is_busy(rank) || heirs_are_busy(rank);
}

static struct message_quiet look(struct rank *rank, uint64_t round)
{
    drop_orphans(rank);
    replica_drop_idle(rank);
    dispatch_pump(rank);
    dispatch_flush(rank);
    return (struct message_quiet){.round = round,
                                  .sent = rank->counted_sent,
                                  .received = rank->counted_received,
                                  .retried = rank->stats.retried,
                                  .adopted = rank->stats.adopted,
                                  .relaunched = rank->stats.relaunched,
                                  .busy = is_busy(rank)};
}

void finish_on_quiet(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct message_quiet question;
    const void *bytes = wire_take(body, sizeof question);
    if (!bytes || from != 0) {
        body->failed = true;
        return;
    }
    memcpy(&question, bytes, sizeof question);
    struct message_quiet answer = look(rank, question.round);
    message_send(rank, from, MESSAGE_QUIET_ANSWER, *header, &answer, sizeof answer);
}

void finish_on_quiet_answer(struct rank *rank, uint32_t from, const struct wire_header *header,
                            struct wire_reader *body)
{
    struct message_quiet answer;
    const void *bytes = wire_take(body, sizeof answer);
    struct quiet *quiet = &rank->quiet;
    if (!bytes) {
        return;
    }
    memcpy(&answer, bytes, sizeof answer);
    if (answer.round == quiet->round) {
        quiet->answers++;
        quiet->sent += answer.sent;
        quiet->received += answer.received;
        quiet->retried += answer.retried;
        quiet->adopted += answer.adopted;
        quiet->relaunched += answer.relaunched;
        quiet->busy |= answer.busy != 0;
        if (rank->finisher && quiet->answers >= quiet->asked) {
            idle_wake(rank, rank->finisher);
        }
    }
}

void finish_on_stop_all(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    struct message_quiet message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes || from != 0) {
        body->failed = true;
        return;
    }
    memcpy(&message, bytes, sizeof message);
    finish_stop(rank, message.code);
}

static void send_all(struct rank *rank, enum message_kind kind, const struct message_quiet *message)
{
    rank->quiet.asked = 0;
    for (uint32_t i = 0; i < rank->size; i++) {
        if (!rank->down[i] && i != rank->number) {
            rank->quiet.asked++;
            message_send(rank, i, kind, (struct wire_header){0}, message, sizeof *message);
        }
    }
    dispatch_flush(rank);
}

static void wait_until(struct rank *rank, uint64_t deadline_ns)
{
    uint64_t spin_until = 0;
    while (base_now_ns(rank->host) < deadline_ns && !rank->is_stopped) {
        idle_step(rank, rank->finisher, &spin_until, deadline_ns);
    }
}

/* One round; true when this and the last one say that all is quiet. */
static bool ask_round(struct rank *rank)
{
    struct quiet *quiet = &rank->quiet;
    uint64_t spin_until = 0, last_sent = quiet->sent, last_received = quiet->received;
    bool was_busy = quiet->busy;
    struct message_quiet question = {.round = ++quiet->round};
    struct message_quiet own =
        look(rank, quiet->round); /* not by message: it must be had without memory too */
    quiet->answers = 0;
    quiet->sent = own.sent;
    quiet->received = own.received;
    quiet->retried = own.retried;
    quiet->adopted = own.adopted;
    quiet->relaunched = own.relaunched;
    quiet->busy = own.busy != 0;
    send_all(rank, MESSAGE_QUIET, &question);
    while (quiet->answers < quiet->asked && !rank->is_stopped) {
        uint32_t asked = quiet->asked;
        idle_step(rank, rank->finisher, &spin_until, base_now_ns(rank->host) + ROUND_PAUSE_MAX_NS);
        if (asked == quiet->asked && quiet->deaths != rank->deaths) {
            quiet->deaths = rank->deaths; /* somebody will not answer: ask the others again */
            return false;
        }
    }
    bool is_same = quiet->sent == last_sent && quiet->received == last_received;
    return !quiet->busy && !was_busy && is_same && (quiet->sent == quiet->received || rank->deaths);
}

static void cancel_all(struct rank *rank, struct scope *scope)
{
    BASE_LIST_EACH(&scope->maps, link)
    {
        cancel_task(rank, MT_CONTAINER(link, struct map, link)->task);
    }
    struct task *task;
    for (uint32_t at = 0; rank->unfinished && (task = scope_next_child(rank, scope, &at));) {
        cancel_task(rank, task);
    }
    scope_drop_all(rank, scope);
}

static void cancel_roots(struct rank *rank)
{
    BASE_LIST_EACH(&rank->roots, link)
    {
        cancel_all(rank, MT_CONTAINER(link, struct scope, roots));
    }
    queue_detach_all(rank);
    dispatch_pump(rank);
    dispatch_flush(rank);
}

static void end_job(struct rank *rank, int code)
{
    uint64_t pause_ns = ROUND_PAUSE_MIN_NS;
    cancel_roots(rank);
    while (!ask_round(rank) && !rank->is_stopped) {
        wait_until(rank, base_now_ns(rank->host) + pause_ns);
        pause_ns = MT_MIN(pause_ns * 2, ROUND_PAUSE_MAX_NS);
    }
    struct message_quiet stop = {.code = code};
    send_all(rank, MESSAGE_STOP_ALL, &stop);
    finish_stop(rank, code);
}

struct core_redone core_get_redone(struct rank *rank)
{
    return (struct core_redone){.deaths = rank->deaths,
                                .retried = rank->quiet.retried,
                                .adopted = rank->quiet.adopted,
                                .relaunched = rank->quiet.relaunched};
}

void core_stop(struct rank *rank, int code)
{
    atomic_store_explicit(&rank->is_aborted, 1, memory_order_relaxed);
    uint64_t deadline_ns = base_deadline_after(base_now_ns(rank->host), STOP_PATIENCE_NS);
    if (!baton_take_until(&rank->baton, rank->host, deadline_ns)) {
        return;
    }
    comm_mute(rank->comm);
    if (!rank->is_stopped) {
        finish_stop(rank, code);
    }
    baton_give(&rank->baton);
}

int core_finish(struct rank *rank, int code)
{
    struct sleeper sleeper = {0};
    base_list_init(&sleeper.idle);
    baton_take(&rank->baton, rank->host);
    rank->is_finishing = 1;
    rank->finisher = &sleeper;
    if (rank->number == 0) {
        end_job(rank, code);
    } else {
        cancel_roots(rank);
        while (!rank->is_stopped) {
            uint64_t spin_until = 1;
            idle_step(rank, &sleeper, &spin_until, BASE_FOREVER);
        }
    }
    rank->finisher = NULL;
    code = rank->exit_code;
    baton_give(&rank->baton);
    return code;
}
