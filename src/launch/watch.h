/*
 * watch: one thread per process that sees what the rings cannot tell.
 *
 * It sleeps on the ends of other processes (pidfds), on the lines to them (launch/
 * handover.h on the node, launch/join.h from other hosts), and on signals. The lowest
 * rank watches all, the others watch the lowest: a star, one line per rank at rank 0,
 * and four notes in the time of silence after which a rank counts as dead. A rank that
 * ends in order says so on its line first; every other end is a death. The lowest
 * rank's death, and any before the start is over, ends the job: the rank that noticed
 * says what happened, tells the others, and stops its core; what is still running when
 * the time to stop is over is ended by force. Every other death is told to all ranks,
 * and the job goes on without the dead one (watch_survive). A start and an end of all
 * ranks together (watch_meet) goes over the same lines.
 */
#ifndef LAUNCH_WATCH_H
#define LAUNCH_WATCH_H

#include "base/log.h"
#include "launch/handover.h"

struct far;
struct rank;
struct watch;

enum watch_owner { WATCH_OWN_PROCESS, WATCH_GUEST }; /* a guest never ends the process by force */

struct watch_options {
    const struct base_host *host;
    struct base_log log;
    const char *host_name; /* borrowed */
    enum watch_owner owner;
    bool has_launcher; /* the parent's end is the job's end */
    uint32_t rank;     /* as the launcher tells, until watch_adopt */
    uint64_t stop_timeout_ns;
    uint64_t silence_ns; /* without a sign of life from another host; on this one, more */
};

/* Starts the thread. */
int watch_start(const struct watch_options *options, struct watch **ret_watch);

/* What signal handlers write to: an eventfd that takes WATCH_SIGNAL_*. */
#define WATCH_SIGNAL_END 1u
#define WATCH_SIGNAL_REPORT (UINT64_C(1) << 32)
int watch_signal_fd(const struct watch *watch);

/* This rank's place and its lines: links[size] on rank 0, links[0] (to rank 0) elsewhere. Consumed.
 * cards are copied. */
int watch_adopt(struct watch *watch, uint32_t rank, uint32_t size, const struct link *links,
                const union card_page *cards);

/*
 * From the end of the start on, the death of another rank than the lowest is no end: `tell` hears
 * of each, once, on any thread, with the watch's lock held, so it must not call back. NULL: deaths
 * end the job (again), and tell is not called any more.
 */
void watch_survive(struct watch *watch, void (*tell)(void *arg, uint32_t rank), void *arg);

/* The core to be stopped when the job ends, NULL: none (any more). */
void watch_set_core(struct watch *watch, struct rank *core);

/* The ways to other hosts, NULL: none (any more): what they warn of is told by rank 0, once in a
 * job, and they are a part of the report that a signal asks for. */
void watch_set_far(struct watch *watch, struct far *far);

/*
 * Waits until every rank has called it as often. The first failure by rank, of those that were
 * given, comes back on every rank, its reason in text (which holds the own one at the call).
 * MANTA_E_TIMEOUT; MANTA_E_RANK or MANTA_E_SHUTDOWN when the job has ended.
 */
int watch_meet(struct watch *watch, int code, uint64_t timeout_ns, char *text, size_t text_size);

/* True when the job was ended by a signal, a death or another rank; *ret_code is what the process
 * should return. */
bool watch_has_ended(struct watch *watch, int *ret_code);

/* Tells the others that this rank goes in order; what they do is of no interest any more. */
void watch_leave(struct watch *watch);

/* Joins the thread, closes the lines. Accepts NULL. */
void watch_destroy(struct watch *watch);

#endif
