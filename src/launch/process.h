/*
 * process: a rank from nothing to running and back, for manta_run and manta_init.
 *
 *   settings -> watch -> bootstrap -> cards -> handover -> comm -> core -> hooks -> all met
 *
 * A failure before the cards are exchanged is this rank's own; from then on ranks fail
 * together: each brings its code to the first meeting, and the lowest rank's failure is
 * everybody's.
 */
#ifndef LAUNCH_PROCESS_H
#define LAUNCH_PROCESS_H

#include "base/log.h"
#include "launch/settings.h"

#include <manta/manta.h>

#include <stdbool.h>

struct process;

enum process_owner {
    PROCESS_RUN,   /* manta_run: signals, MPI only for the bootstrap, may end the process */
    PROCESS_GUEST, /* manta_init: none of these */
};

#define PROCESS_TEXT_MAX 512

/* config is NULL for PROCESS_RUN. *log is completed by the settings (its level). On failure the
 * reason is in text, and is_speaker says if this rank should tell it. */
int process_start(enum process_owner owner, const manta_config *config, struct base_log *log,
                  struct process **ret_process, bool *ret_is_speaker, char *text);

/* The one line that says why a start failed. */
void process_tell(const struct base_log *log, int code, const char *text);

uint32_t process_rank(const struct process *process);
struct watch *process_watch(struct process *process);

/*
 * Waits for the end of the job (rank 0 gives its code), runs the stop hooks, frees everything.
 * Returns the job's code, or what a signal or a death made of it.
 */
int process_end(struct process *process, int code);

/* All ranks are here, or the job has ended. */
int process_meet(struct process *process);

#endif
