/* How a child begins: clone and exec for a command, fork for an isolated function; see start.c. */
#ifndef SPAWN_START_H
#define SPAWN_START_H

#include "spawn/message.h"

/* Where a beginning failed; reason.c has the texts. */
enum start_step {
    START_NONE,
    START_MEMORY,
    START_PIPE,
    START_INPUT_BYTES,
    START_FORK,
    START_ORPHANED,
    START_CGROUP,
    START_DIRECTORY,
    START_INPUT,
    START_OUT,
    START_ERR,
    START_RLIMIT,
    START_CPUS,
    START_EXEC,
    START_STEPS,
};

struct start_failure {
    enum start_step step;
    int error; /* errno */
};

struct start_order {
    const struct request *request;
    char *const *environment;
    spawn_run_isolated *run;
    int out, err;               /* write ends of pipes; -1: not captured */
    int reply;                  /* memory file of an isolated function; -1 */
    int group;                  /* cgroup.procs to enter; -1 */
    const struct rlimit *files; /* RLIMIT_NOFILE to set back; NULL: it was not raised */
};

/* What an isolated child leaves at the end of its reply file. */
#define START_TRAILER_MAGIC UINT64_C(0x6d616e7461646f6e)
struct start_trailer {
    uint64_t magic;
    int32_t returned, step, error, unused;
};

/* 0 and the child's process, a session and group leader; or -1 and why not. */
int start_child(const struct start_order *order, pid_t *ret_pid,
                struct start_failure *ret_failure) MT_CHECKED;

#endif
