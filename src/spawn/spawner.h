/* The state of a spawner process; private to spawner.c, answer.c, child.c and sweep.c. */
#ifndef SPAWN_SPAWNER_H
#define SPAWN_SPAWNER_H

#include "base/list.h"
#include "base/map.h"
#include "spawn/capture.h"
#include "spawn/cgroup.h"
#include "spawn/channel.h"
#include "spawn/message.h"

#define SPAWNER_SAMPLE_NS UINT64_C(50000000)

struct spawner;

/* What a descriptor in the epoll set belongs to. */
struct source {
    void (*ready)(struct spawner *spawner, struct source *source);
};

enum child_stage { CHILD_RUNS, CHILD_TERMINATED, CHILD_KILLED };

struct output {
    struct source source;
    struct child *child;
    struct capture capture;
    uint32_t stream;
};

struct child {
    struct base_list node; /* spawner.children, the oldest first */
    uint64_t token, id, sequence;
    uint32_t attempt;
    pid_t pid;
    enum child_stage stage;
    bool is_told;               /* the rank knows its pid */
    enum spawn_end cause;       /* why we stopped it; SPAWN_ENDED_EXIT: we did not */
    uint64_t begun_ns, next_ns; /* the next thing its limits ask for; BASE_FOREVER: nothing */
    struct spawn_limits limits;
    struct output out, err;
    int reply;           /* memory file; -1: a command */
    struct cgroup group; /* mount "": sampled, if limited */
    char name[64];
};

/* A group that still had processes when its child was answered. */
struct left {
    struct base_list node;
    struct cgroup group;
};

struct spawner {
    int socket, epoll, signals;
    pid_t rank_pid;
    struct log_writer log;
    struct source socket_source, signal_source;
    spawn_run_isolated *run;
    char **environment; /* of the process */
    char *buffer;       /* CHANNEL_PACKET_MAX */
    struct rlimit files;
    bool has_raised_files, has_hello;
    struct cgroup groups[2];                  /* where children's groups are made */
    struct base_list children, answers, left; /* left: groups that could not be removed yet */
    struct base_map by_pid, by_token, orphans;
    uint64_t sequence, next_limit_ns, next_sweep_ns, next_tell_ns;
    uint32_t sampled; /* children whose memory is sampled */
};

uint64_t spawner_now_ns(void);

/* child.c */
void child_begin(struct spawner *spawner, const struct request *request);
/* Its end as seen by wait: what is left of its group goes too, the rank is told. */
void child_reap(struct spawner *spawner, struct child *child);
void child_stop(struct spawner *spawner, struct child *child, enum spawn_end cause,
                uint64_t grace_ns);
/* Tells the rank of those that have run for a while; short ones are told when they end. */
void children_tell(struct spawner *spawner, uint64_t now_ns);
/* Does what the limits of time ask for, computes when to look again. */
void children_check(struct spawner *spawner, uint64_t now_ns);

/* answer.c */
void answer(struct spawner *spawner, const struct iovec *pieces, int count, int fd);
/* Sends what waits; false when the rank is gone. */
bool answers_flush(struct spawner *spawner);

/* sweep.c: memory by sampling, and processes that left their command. */
void sweep(struct spawner *spawner, uint64_t now_ns);
void sweep_forget(struct spawner *spawner, pid_t orphan);
/* Kills all that descends from this process, waits for their ends, seconds at most. */
void sweep_all(struct spawner *spawner);

/* spawner.c */
void spawner_end(struct spawner *spawner) __attribute__((noreturn));
bool spawner_watch(struct spawner *spawner, int fd, struct source *source);
/* Before a close: a forked child may still hold a copy, and the set would report it. */
void spawner_unwatch(struct spawner *spawner, int fd);
struct child *spawner_find_pid(const struct spawner *spawner, pid_t pid);
struct child *spawner_find_token(const struct spawner *spawner, uint64_t token);
/* MANTA_OK or MANTA_E_NOMEM. */
int spawner_enter(struct spawner *spawner, struct child *child);
void spawner_leave(struct spawner *spawner, struct child *child);

#endif
