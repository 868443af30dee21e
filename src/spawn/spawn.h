/*
 * spawn: external commands and isolated functions, outside the rank.
 *
 * A rank keeps one helper process, the spawner: the program itself, started again and
 * taken over by the library before main (takeover.c). It has the program's code, the
 * rank's environment without the launcher's variables, one thread, a few megabytes, and
 * neither MPI nor UCX nor CUDA; so it can start a command in the time of a bare
 * posix_spawn, and fork a child that calls a function of the program, where a rank could
 * do neither safely. What runs there cannot hurt the rank: a crash, an exit, a timeout
 * is the end of a child.
 *
 *     rank                         spawner                           child
 *     spawn_command -- request --> clone, exec --------------------> runs
 *     started       <-- pid ------
 *                                  limits, output -> tails and log   ... ends
 *     ended         <-- result ---
 *
 * - Each accepted request is answered by exactly one call of its `ended`, also when the
 *   spawner dies (SPAWN_ENDED_LOST), or when the rank gives the whole thing up. A dead
 *   spawner is replaced; requests that it had not been given go to the next one. After three
 *   that could not be started, or died before they reported, it is SPAWN_BROKEN and refuses all.
 * - Nothing outlives the rank. The spawner dies with it, and before that kills whatever
 *   descends from it: it is a subreaper, each child leads a session, and it leads one itself,
 *   so that a launcher's kill of the rank's group leaves it there to clean up. If the spawner
 *   is killed, its children get SIGKILL from the kernel and their groups from the rank. Only
 *   where both are killed at one instant can a grandchild survive; but that is the kill of a
 *   whole cgroup, which takes it along.
 * - A command's whole group ends with its first process.
 *
 * Threads: spawn_poll belongs to one thread at a time, the one that watches spawn_fd; it
 * calls `started` and `ended`, with no lock held, so they may call everything here but
 * spawn_poll and spawn_destroy. The rest is for any thread, never waits for a command, and
 * holds a lock for the length of one send at most.
 *
 * The program must be linked to the library. One that loads it later (dlopen) runs its main again
 * in the copy, up to there; an interpreter (python) ends at once, and after three tries every
 * request is refused.
 */
#ifndef SPAWN_SPAWN_H
#define SPAWN_SPAWN_H

#include "base/host.h"
#include "base/log.h"

#include <manta/error.h>
#include <sys/resource.h>
#include <sys/types.h>

#define SPAWN_TAIL_MAX 32768u
#define SPAWN_RLIMITS_MAX 8u
#define SPAWN_CPU_BYTES_MAX 1024u /* 8,192 processors */

struct spawn;

/* ---- What to run */

enum spawn_to {
    SPAWN_TO_LOG,     /* captured: to the log, if there is one, and its end into the result */
    SPAWN_TO_NOTHING, /* /dev/null */
    SPAWN_TO_FILE,    /* path, relative to the command's directory; made or emptied */
    SPAWN_TO_APPEND,  /* the same, at its end */
    SPAWN_TO_RANK,    /* the rank's own */
    SPAWN_TO_STDOUT,  /* standard error only: where standard output goes */
};

struct spawn_stream {
    enum spawn_to to;
    const char *path; /* of SPAWN_TO_FILE and SPAWN_TO_APPEND */
};

struct spawn_rlimit {
    int32_t resource; /* RLIMIT_* */
    uint64_t soft, hard;
};

/* A zero member is no limit. */
struct spawn_limits {
    uint64_t wall_ns;
    uint64_t memory_bytes; /* resident, of all processes of the command together */
    uint64_t grace_ns;     /* SIGTERM this long before SIGKILL at a limit; 0: SIGKILL at once */
    uint64_t output_bytes; /* of each stream that the log keeps; the rest is counted as lost */
    uint32_t tail_bytes;   /* last of each stream that the result has; at most SPAWN_TAIL_MAX */
    uint32_t rlimit_count;
    const struct spawn_rlimit *rlimits;
    const void *cpus; /* cpu_set_t bytes to be bound to; NULL: as the rank */
    uint32_t cpu_bytes;
};

enum spawn_environment { SPAWN_ENVIRONMENT_ADD, SPAWN_ENVIRONMENT_WHOLE };

struct spawn_command {
    uint64_t id; /* names its output in the log */
    uint32_t attempt;
    enum spawn_environment environment_kind;
    const char *const *argv;        /* NULL-terminated, not empty; argv[0] is looked up in PATH */
    const char *const *environment; /* NULL-terminated "NAME=value", "NAME" to unset; or NULL */
    const char *directory;          /* NULL: the rank's when the spawner started */
    const void *input;              /* standard input; none: /dev/null */
    size_t input_bytes;
    const char *input_path; /* the same from a file */
    struct spawn_stream out, err;
    struct spawn_limits limits;
};

struct spawn_isolated {
    uint64_t id;
    uint32_t attempt;
    const void *bytes; /* what the registered function gets */
    size_t size;
    struct spawn_stream out, err;
    struct spawn_limits limits;
};

/* ---- What became of it */

enum spawn_end {
    SPAWN_ENDED_EXIT,    /* by itself: exit_code */
    SPAWN_ENDED_SIGNAL,  /* by a signal that was not ours: signal */
    SPAWN_ENDED_TIMEOUT, /* limits.wall_ns */
    SPAWN_ENDED_MEMORY,  /* limits.memory_bytes */
    SPAWN_ENDED_KILLED,  /* spawn_kill, or the end of the struct spawn */
    SPAWN_ENDED_REFUSED, /* it never began; error says why */
    SPAWN_ENDED_LOST,    /* the spawner died; how far it got is unknown */
    SPAWN_ENDS,
};

/* Borrowed until `ended` returns. */
struct spawn_result {
    enum spawn_end end;
    int32_t exit_code, signal, pid;
    /* Code and text only: MANTA_OK for exit code 0, MANTA_E_TASK for another one, MANTA_E_CRASH
     * for a signal or a loss, MANTA_E_TIMEOUT, MANTA_E_NOMEM at the memory limit,
     * MANTA_E_CANCELLED, MANTA_E_SHUTDOWN; else why it did not begin. */
    manta_error error;
    uint64_t wall_ns, user_ns, system_ns, max_rss_bytes;
    uint64_t out_bytes, err_bytes; /* written by it */
    uint64_t lost_bytes;           /* of these not in the log, though it was to keep them */
    const char *out_tail, *err_tail;
    uint32_t out_tail_bytes, err_tail_bytes;
    /* Isolated functions: it returned, what, and the bytes it wrote as its reply. */
    bool has_returned;
    int32_t returned;
    const void *reply;
    size_t reply_bytes;
};

struct spawn_done {
    /* May be NULL. Once before `ended` if it began, a few milliseconds after that. */
    void (*started)(void *arg, int32_t pid);
    void (*ended)(void *arg, const struct spawn_result *result);
    void *arg;
};

/* ---- The rank's side */

/* How limits.memory_bytes is kept: by looking at what the command's processes use, every 50 ms; or
 * by a control group for each such child, which the kernel enforces, where one can be made. A group
 * is left behind if rank and spawner are killed at one instant, so it is for who asks. */
enum spawn_memory_kind { SPAWN_MEMORY_SAMPLED, SPAWN_MEMORY_GROUPS };

struct spawn_options {
    const struct base_host *host;
    uint32_t rank;
    enum spawn_memory_kind memory_kind;
    /* Output goes to PATH.data and PATH.index, which the ranks of a node may share (not of several
     * nodes: appending is not atomic there). NULL: no log. */
    const char *log_path;
    const char *const *environment; /* for all commands; NULL: environ without the launcher's */
    const void *cpus;               /* as in spawn_limits, for all; NULL: the caller's own */
    uint32_t cpu_bytes;
};

/* Opens the log and starts the spawner; does not wait for it. MANTA_OK, MANTA_E_INVALID,
 * MANTA_E_NOMEM, MANTA_E_SYSTEM, MANTA_E_LIMIT. */
int spawn_create(const struct spawn_options *options, struct spawn **ret_spawn,
                 manta_error *ret_error) MT_CHECKED;

/* Ends everything, tells each request that is still open so (SPAWN_ENDED_KILLED, MANTA_E_SHUTDOWN),
 * waits for the spawner: milliseconds, seconds at worst. Accepts NULL. */
void spawn_destroy(struct spawn *spawn);

/* Readable when spawn_poll has something to do. */
int spawn_fd(const struct spawn *spawn);

/* Handles what has come; waits for it up to timeout_ns. MANTA_OK, or MANTA_E_TIMEOUT when there was
 * nothing. */
int spawn_poll(struct spawn *spawn, uint64_t timeout_ns);

/* Everything in the request is copied. On failure `ended` is never called. MANTA_OK,
 * MANTA_E_INVALID, MANTA_E_NOMEM, MANTA_E_SYSTEM. */
int spawn_command(struct spawn *spawn, const struct spawn_command *command,
                  const struct spawn_done *done, uint64_t *ret_handle,
                  manta_error *ret_error) MT_CHECKED;
int spawn_isolated(struct spawn *spawn, const struct spawn_isolated *isolated,
                   const struct spawn_done *done, uint64_t *ret_handle,
                   manta_error *ret_error) MT_CHECKED;

/* SIGTERM to the command's group, SIGKILL after grace_ns; its `ended` comes as ever. MANTA_OK,
 * MANTA_E_NOTFOUND when it has been answered already. */
int spawn_kill(struct spawn *spawn, uint64_t handle, uint64_t grace_ns);

/* Whether the spawner has reported, or none will any more. */
enum spawn_state { SPAWN_STARTING, SPAWN_READY, SPAWN_BROKEN };
enum spawn_state spawn_state(struct spawn *spawn);

/* The spawner's process; 0 while there is none. */
int32_t spawn_pid(struct spawn *spawn);

/* ---- The child's side */

/* Runs in the child, on its only thread; what it writes to reply_fd is the reply. */
typedef int spawn_run_isolated(const void *bytes, size_t size, int reply_fd);

/* To be called by a constructor, so that it is known when the spawner takes over. One per
 * program. */
void spawn_set_isolated(spawn_run_isolated *run);

/* ---- The log, read back */

enum spawn_stream_kind { SPAWN_STDOUT = 1, SPAWN_STDERR = 2 };

struct spawn_log_part {
    uint64_t id;
    uint32_t attempt, stream, rank, bytes;
    uint64_t offset;  /* in PATH.data */
    uint64_t time_ns; /* since 1970 */
};

struct spawn_log;

/* What is in the log now, a torn end ignored. MANTA_OK, MANTA_E_NOTFOUND, MANTA_E_SYSTEM,
 * MANTA_E_NOMEM; MANTA_E_TYPE: the index has bytes, and none of them are a log's. */
int spawn_log_open(const char *path, struct spawn_log **ret_log) MT_CHECKED;
void spawn_log_close(struct spawn_log *log); /* accepts NULL */
/* Sorted by id, attempt, stream; in the order of writing within. Borrowed until the close. */
const struct spawn_log_part *spawn_log_parts(const struct spawn_log *log, size_t *ret_count);
/* Up to `size` bytes of one stream from `offset` on; *ret_size 0 at its end. MANTA_OK,
 * MANTA_E_NOTFOUND when there is nothing of it, MANTA_E_SYSTEM. */
int spawn_log_read(const struct spawn_log *log, const struct spawn_log_part *key, uint64_t offset,
                   void *bytes, size_t size, size_t *ret_size);

/* ---- How near the node or the job is to its memory limit */

struct spawn_memory_source {
    const char *proc_root;   /* NULL: /proc */
    const char *cgroup_root; /* NULL: /sys/fs/cgroup */
};

struct spawn_memory {
    uint64_t limit_bytes, used_bytes; /* of what has the least left; caches count as free */
    uint64_t left_bytes;
    bool is_cgroup; /* else the node's own memory */
};

/* source NULL: this process's own. MANTA_OK, MANTA_E_NOTFOUND when nothing can be read. */
int spawn_memory_pressure(const struct spawn_memory_source *source, struct spawn_memory *ret);

#endif
