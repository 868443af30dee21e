/*
 * patience: an end for calls that have no deadline of their own.
 *
 * MPI_Init and MPI_Finalize wait for every rank. When one dies meanwhile and the launcher lets the
 * others live (which is how it is asked to start a job that recovers), they wait for minutes or for
 * ever, where nothing of ours can interrupt them. So a thread waits beside them, and ends the
 * process when the time for the start is over. It is there only while a program that has given its
 * process to Manta (manta_run) is inside of MPI; what else takes long has deadlines, which this one
 * leaves time to be reported.
 */
#ifndef LAUNCH_PATIENCE_H
#define LAUNCH_PATIENCE_H

#include "base/host.h"
#include "base/log.h"

struct patience {
    const struct base_host *host;
    struct base_log log;
    uint64_t deadline_ns;
    bool is_speaker; /* says why it ends the process */
    bool is_started;
    struct base_thread thread;
    struct base_park park;
};

/* host, log, deadline_ns and is_speaker are set. A thread that cannot be had is done without. */
void patience_start(struct patience *patience);
/* May be called again, and without a start. */
void patience_stop(struct patience *patience);

#endif
