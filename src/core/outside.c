#include "core/outside.h"

#include "base/units.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/idle.h"
#include "core/registry.h"
#include "core/task.h"
#include "core/timeline.h"

#include <stdio.h>

enum { CPUS_MAX = 4096 };

/* ---- At submission -------------------------------------------------------------------------- */

static bool runs_command(const struct run *run)
{
    return run->function == command_function();
}

static bool is_command(const struct task *task)
{
    return task->function == command_function();
}

int outside_check_options(const struct task *task, const manta_options *options, char *text,
                          size_t text_size)
{
    const manta_param *refused = options->isolated ? isolated_refused(task->function) : NULL;
    if (options->isolated != 0 && options->isolated != 1) {
        snprintf(text, text_size, "option isolated is %d; it must be 0 or 1", options->isolated);
    } else if (options->isolated && is_command(task)) {
        snprintf(text, text_size, "option isolated is 1, but a command is no task of the program");
    } else if (refused) {
        snprintf(text, text_size,
                 "option isolated is 1, but parameter %s takes or gives refs or items: an isolated "
                 "task has "
                 "values only (val, text, span, in, inout, out, outv)",
                 refused->name);
    } else if (options->cpus > CPUS_MAX) {
        snprintf(text, text_size, "option cpus is %u; at most %d", options->cpus, CPUS_MAX);
    } else if ((options->cpus || options->memory_bytes) && !options->isolated &&
               !is_command(task)) {
        snprintf(text, text_size,
                 "option %s is for isolated tasks and commands; this one is neither",
                 options->cpus ? "cpus" : "memory_bytes");
    } else {
        return MANTA_OK;
    }
    return MANTA_E_INVALID;
}

void outside_note_options(struct task *task, const manta_options *options)
{
    enum outside_kind kind = is_command(task)    ? OUTSIDE_COMMAND
                             : options->isolated ? OUTSIDE_ISOLATED
                                                 : OUTSIDE_NONE;
    task->extra->outside = (struct outside_terms){.memory_bytes = options->memory_bytes,
                                                  .cpus = (uint16_t)options->cpus,
                                                  .kind = (uint8_t)kind};
}

struct outside_terms outside_terms(const struct task *task)
{
    struct outside_terms terms = task->extra->outside;
    terms.retries_left = (uint8_t)MT_MAX(task->retries_left, 0);
    return terms;
}

/* ---- Runs ----------------------------------------------------------------------------------- */

bool outside_attach(struct rank *rank, struct run *run, const struct outside_terms *terms)
{
    if (terms->kind == OUTSIDE_NONE) {
        return true;
    }
    struct outside *outside = base_alloc(sizeof *outside);
    if (!outside) {
        return false;
    }
    base_list_init(&outside->link);
    outside->rank = rank;
    outside->run = run;
    outside->terms = *terms;
    outside->terms.cpus = (uint16_t)MT_MIN(MT_MAX((uint32_t)terms->cpus, 1u), rank->outside.cpus);
    run->outside = outside;
    run->has_more = 1;
    return true;
}

void outside_detach(struct run *run)
{
    base_list_remove(&run->outside->link);
    base_free(run->outside);
    run->outside = NULL;
}

/* Behind those of its priority. */
static void enqueue(struct outside_room *room, struct run *run)
{
    struct base_list *before = &room->queued;
    while (before->prev != &room->queued &&
           MT_CONTAINER(before->prev, struct run, link)->priority < run->priority) {
        before = before->prev;
    }
    base_list_insert(before, &run->link);
}

static void fail(struct rank *rank, struct run *run, int code, const char *text)
{
    exec_deliver(rank, run, code, NULL, exec_failure(rank, run, code, text));
}

void outside_queue(struct rank *rank, struct run *run)
{
    struct outside_room *room = &rank->outside;
    int code = room->processes ? MANTA_OK : MANTA_E_STATE;
    run->state = RUN_QUEUED;
    enqueue(room, run);
    if (code == MANTA_OK && room->cpus_used < room->cpus) {
        code = room->processes->wake(room->processes->self, rank);
    }
    if (MT_UNLIKELY(code != MANTA_OK)) {
        exec_unqueue(rank, run);
        fail(rank, run, code,
             room->processes ? "no thread can be had to start processes: check ulimit -u"
                             : "this rank cannot start processes");
    }
}

void outside_stop(struct rank *rank, struct run *run)
{
    const struct core_processes *processes = rank->outside.processes;
    if (run->outside && run->outside->is_started) {
        processes->kill(processes->self, run->outside->handle, run->outside->grace_ns);
    }
}

/* ---- The end of one -------------------------------------------------------------------------- */

/* What the result means for the task; a code other than MANTA_OK comes with its text. */
static int judge(struct outside *outside, const struct spawn_result *result,
                 struct value **ret_value, char *text, size_t text_size)
{
    struct run *run = outside->run;
    snprintf(text, text_size, "%s", result->error.text);
    if (run->cancelled) {
        return MANTA_E_CANCELLED;
    }
    if (result->end == SPAWN_ENDED_KILLED && outside->left_bytes) {
        run->is_lost = 1;
        snprintf(
            text, text_size,
            "it was ended because the node had only %s of memory left: run fewer at once (option "
            "cpus), or give the job more memory",
            base_size(outside->left_bytes).text);
        return MANTA_E_NOMEM;
    }
    run->is_lost = result->end == SPAWN_ENDED_LOST;
    return (runs_command(run) ? command_result : isolated_result)(outside, result, ret_value, text,
                                                                  text_size);
}

static void ended(void *arg, const struct spawn_result *result)
{
    struct outside *outside = arg;
    struct rank *rank = outside->rank;
    struct run *run = outside->run;
    struct value *value = NULL;
    char text[MANTA_ERROR_TEXT_MAX];
    baton_take(&rank->baton, rank->host);
    if (!rank->is_stopped) { /* else outside_fini has it */
        int code = judge(outside, result, &value, text, sizeof text);
        rank->outside.cpus_used -= outside->terms.cpus;
        base_list_remove(&outside->link);
        outside->is_started = false;
        timeline_outside(rank, BASE_TIMELINE_ENDED, run, code);
        exec_deliver(rank, run, code, value,
                     code == MANTA_OK ? NULL : exec_failure(rank, run, code, text));
    }
    baton_give(&rank->baton);
    (void)core_outside_turn(rank);
}

/* ---- Starting -------------------------------------------------------------------------------- */

/* False: not now, and nothing else either. */
static bool start(struct rank *rank, struct run *run)
{
    struct outside_room *room = &rank->outside;
    struct outside *outside = run->outside;
    const struct spawn_done done = {.ended = ended, .arg = outside};
    manta_error error = {0};
    int code = (runs_command(run) ? command_start : isolated_start)(outside, &done, &error);
    if (code == MANTA_E_AGAIN) {
        return false;
    }
    exec_unqueue(rank, run);
    if (code != MANTA_OK) {
        fail(rank, run, code, error.text[0] ? error.text : manta_error_text(code));
        return true;
    }
    run->state = RUN_RUNNING;
    rank->stats.executed++;
    timeline_outside(rank, BASE_TIMELINE_STARTED, run, 0);
    if (run->is_watched) {
        exec_tell_begun(rank, run);
    }
    outside->is_started = true;
    outside->serial = ++room->serial;
    room->cpus_used += outside->terms.cpus;
    base_list_push_back(&room->running, &outside->link);
    return true;
}

static void start_all(struct rank *rank)
{
    struct outside_room *room = &rank->outside;
    while (!base_list_is_empty(&room->queued)) {
        struct run *run = MT_CONTAINER(room->queued.next, struct run, link);
        if (room->cpus_used + run->outside->terms.cpus > room->cpus || !start(rank, run)) {
            return;
        }
    }
}

uint32_t core_outside_turn(struct rank *rank)
{
    baton_take(&rank->baton, rank->host);
    if (!rank->is_stopped) {
        start_all(rank);
        dispatch_pump(rank);
        dispatch_flush(rank);
        idle_rouse(rank);
    }
    uint32_t used = rank->outside.cpus_used;
    baton_give(&rank->baton);
    return used;
}

void core_outside_broken(struct rank *rank, const manta_error *error)
{
    baton_take(&rank->baton, rank->host);
    struct base_list failed, *link;
    base_list_init(&failed);
    if (!rank->is_stopped) { /* else outside_fini has them */
        base_list_splice(&failed, &rank->outside.queued);
    }
    while ((link = base_list_pop_front(&failed))) {
        fail(rank, MT_CONTAINER(link, struct run, link), error->code, error->text);
    }
    baton_give(&rank->baton);
    (void)core_outside_turn(rank);
}

/* ---- Too little memory ----------------------------------------------------------------------- */

bool core_outside_relieve(struct rank *rank, uint64_t left_bytes)
{
    struct outside *victim = NULL;
    struct sched_victim best, next;
    baton_take(&rank->baton, rank->host);
    BASE_LIST_EACH(&rank->outside.running, link)
    {
        struct outside *outside = MT_CONTAINER(link, struct outside, link);
        next = (struct sched_victim){outside->serial, outside->terms.retries_left > 0};
        if (!outside->left_bytes && !outside->run->cancelled &&
            (!victim || sched_goes_before(&next, &best))) {
            victim = outside;
            best = next;
        }
    }
    if (victim) {
        victim->left_bytes = MT_MAX(left_bytes, 1u);
        outside_stop(rank, victim->run);
    }
    baton_give(&rank->baton);
    return victim != NULL;
}

static void forget(struct rank *rank, struct run *run)
{
    if (!run->args_borrowed) {
        pack_block_free(rank, run->args, run->args_bytes);
    }
    outside_detach(run);
}

void outside_fini(struct rank *rank)
{
    struct outside_room *room = &rank->outside;
    BASE_LIST_EACH(&room->queued, link)
    {
        forget(rank, MT_CONTAINER(link, struct run, link));
    }
    BASE_LIST_EACH(&room->running, link)
    {
        forget(rank, MT_CONTAINER(link, struct outside, link)->run);
    }
}
