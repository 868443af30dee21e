/*
 * Manta: remote tasks on the ranks of a supercomputer. ISO C17 and C++17.
 *
 * A program is a driver and tasks. manta_run starts the ranks, runs the driver on
 * rank 0 and serves tasks everywhere until it returns. Calling a task's _async form
 * gives a ref at once; the task runs on some rank when the refs among its arguments
 * are ready; _get waits for the result. Submitting never fails apart: a ref carries
 * a value or an error record, and tasks that depend on a failed ref fail with it as
 * their cause.
 *
 *     #include <manta/manta.h>
 *
 *     MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
 *     {
 *         *y = x * x;
 *         return MANTA_OK;
 *     }
 *
 *     static int driver(int argc, char **argv)
 *     {
 *         int64_t y;
 *         return square_get(square_async(NULL, 7), &y);
 *     }
 *
 *     int main(int argc, char **argv) { return manta_run(argc, argv, driver); }
 *
 * Context, unless a function says otherwise: any thread of a rank between start and
 * stop, inside tasks or not; thread-safe. Functions that return int give MANTA_OK or
 * a negative MANTA_E_ code (a failed task's own positive code comes back as it is);
 * manta_last_error has the whole record. Outputs are written only on success.
 */
#ifndef MANTA_MANTA_H
#define MANTA_MANTA_H

#include <manta/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANTA_VERSION_MAJOR 0
#define MANTA_VERSION_MINOR 1
#define MANTA_VERSION_PATCH 0

#if defined(__GNUC__)
#define MANTA_PRINTF(position, first) __attribute__((format(printf, position, first)))
#else
#define MANTA_PRINTF(position, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* No deadline. */
#define MANTA_FOREVER UINT64_MAX
/* Most parameters of one task. */
#define MANTA_PARAM_MAX 12
/* Bytes that all arguments of one task together, or one fixed result, may take; larger results are
 * read in place by the ranks of the node. */
#define MANTA_INLINE_MAX 65536
/* options.retries: never run twice, so not again after the death of a rank that it was sent to. */
#define MANTA_NO_RETRY (-1)
/* options.rank: run on that rank and no other. */
#define MANTA_ON(rank) ((uint32_t)(rank) + 1u)

/* ---- Refs ----------------------------------------------------------------------------------- */

/*
 * The name of a value that exists or will exist. A plain 16-byte value: copy it, pass
 * it to tasks. It is the same after a re-execution. The scope (task or driver) that
 * made it holds it until the scope ends or drops it. All zero is no ref.
 */
typedef struct manta_ref {
    uint64_t parent;   /* id of the task that submitted */
    uint32_t position; /* among the parent's submissions and outputs */
    uint32_t owner;    /* the rank that ran the parent: a hint */
} manta_ref;

/* ---- Tasks: the binary interface under MANTA_TASK (<manta/task.h> makes these) -------------- */

typedef enum manta_kind {
    MANTA_KIND_VAL = 1, /* copied; size is its bytes */
    MANTA_KIND_TEXT,    /* NUL-terminated, copied */
    MANTA_KIND_SPAN,    /* copied array; size is an element's bytes */
    MANTA_KIND_IN,      /* a ref at the call, its value in the body */
    MANTA_KIND_INOUT,   /* the same, consumed, and an output */
    MANTA_KIND_REF,     /* a ref at the call and in the body */
    MANTA_KIND_REFS,    /* an array of refs, at the call and in the body */
    MANTA_KIND_OUT,     /* fixed result; size is its bytes */
    MANTA_KIND_OUTV,    /* variable result; size is an element's bytes */
    MANTA_KIND_OUTREFS, /* variable result: refs */
    MANTA_KIND_STREAM   /* items as it goes; size is an element's bytes; the only output */
} manta_kind;

typedef struct manta_param {
    uint32_t kind;  /* manta_kind */
    uint32_t size;  /* bytes, see manta_kind */
    uint32_t align; /* of the type; at most 16 */
    uint32_t dtype; /* in, inout, outv: manta_dtype of an element; 0: any */
    const char *type;
    const char *name;
} manta_param;

/*
 * One parameter at the call (data, and count elements for text, span and refs; the
 * ref itself for in, inout and ref; not used for outputs) and in the body (data and
 * count elements; for outv and outrefs data is a manta_outv, for a stream a manta_source).
 */
typedef struct manta_slot {
    void *data;
    size_t count;
} manta_slot;

/* A variable result under construction: see manta_outv_alloc. */
typedef struct manta_outv manta_outv;
/* What a task yields into: see manta_yield. */
typedef struct manta_source manta_source;
/* Tasks that are recorded once and run many times: see <manta/graph.h>. */
typedef struct manta_graph manta_graph;

/* A task's descriptor: static, one per task, registered before use. Zero what is not used. */
typedef struct manta_function {
    const char *name;
    const char *file;
    uint32_t line;
    uint32_t param_count;
    const manta_param *params;
    int (*run)(const manta_slot *slots); /* calls the body */
    struct manta_function *next;         /* the library's */
    uint64_t reserved[6];                /* the library's */
} manta_function;

/* Makes a task known under its name. Called by a constructor of each MANTA_TASK; before or during
 * a run. Never fails: what is wrong (two tasks of one name, a bad descriptor) is reported when
 * ranks start. */
MANTA_API void manta_function_register(manta_function *function);

typedef struct manta_options {
    const char *name;      /* shown instead of the function's; copied, at most 63 bytes */
    int32_t priority;      /* -8 to 7; higher runs first among what is ready on a rank */
    uint32_t rank;         /* MANTA_ON(r); 0: anywhere */
    int32_t retries;       /* after deaths of a rank that ran it; 0: three; MANTA_NO_RETRY: none */
    int32_t retry_errors;  /* 1: a failure of its own is retried too, in the same count; the first
                             * time at once, then after 10 ms, 20, 40 ... */
    uint64_t timeout_ns;   /* it is asked to stop after that long (manta_cancelled); it is ended
                            * then if it is isolated, or a command */
    int32_t isolated;      /* 1: it runs in a process of its own; see docs/commands.md */
    uint32_t cpus;         /* isolated, or a command: that it occupies; 0: one */
    uint64_t memory_bytes; /* isolated, or a command: it is ended when it uses more; 0: no limit */
    uint32_t ahead;        /* a stream: items that it may be ahead of its reader; 0: 64 */
    uint32_t ahead_kib;    /* a stream: the same in KiB; 0: 32 MiB, or a quarter of the node's store
                            * if that is less */
    manta_graph *graph;    /* it is recorded there instead of run; only rank and name go with it */
    uint64_t reserved[1];
} manta_options;

/*
 * Submits a task. args has one slot per parameter in order. ret_refs gets one ref per
 * output (inout is one), or a single completion ref when there is none. Never blocks
 * for long; with very many tasks outstanding it lets some finish first. Never fails:
 * the refs carry the error.
 */
MANTA_API void manta_submit(manta_function *function, const manta_options *options,
                            const manta_slot *args, manta_ref *ret_refs);

/*
 * Submits `count` runs of one task at once; run i sees i from manta_map_index. The
 * ref stands for all: it is ready when every run is done, and fails with the first
 * failure by index; manta_map_at gives each element's own ref. The task must have
 * exactly one fixed output, or none, and no in, inout arguments' changes.
 */
MANTA_API manta_ref manta_map(manta_function *function, const manta_options *options,
                              const manta_slot *args, uint64_t count);
/* The ref of run `index`: to wait for, get, pass on. The zero ref when index is out of range. */
MANTA_API manta_ref manta_map_at(manta_ref map, uint64_t index);
/* Waits for all; copies the results in order to values[count] of `size` bytes each; codes[count]
 * (may be NULL) gets each run's code. Returns the first failure by index, the other values are
 * written all the same. */
MANTA_API int manta_map_get(manta_ref map, void *values, size_t size, uint64_t count,
                            int32_t *codes);
/* How many runs are done, failed ones included. Never blocks. */
MANTA_API int manta_map_progress(manta_ref map, uint64_t *ret_done);
/* Inside a task: the index of this run of a map; 0 otherwise. */
MANTA_API uint64_t manta_map_index(void);

/* ---- Results -------------------------------------------------------------------------------- */

/*
 * Makes a value out of `bytes` bytes at `data` (may be NULL if 0), which are copied once: into the
 * memory that the ranks of the node share if they are more than MANTA_INLINE_MAX. Other ranks of
 * the node read them there; tasks get them as `in` arguments. The ref carries the error when there
 * is no room (MANTA_E_LIMIT); it is all zero when there is not even memory for that, or data is
 * NULL, as manta_last_error says. Blocks for as long as the copy takes.
 */
MANTA_API manta_ref manta_put(const void *data, size_t bytes);
/* Waits, then copies a value of exactly `size` bytes. Blocks until it is ready. */
MANTA_API int manta_get(manta_ref ref, void *value, size_t size);
/* Waits, then gives the value in place: borrowed until manta_unview, or the ref is dropped, or a
 * call takes it as inout, which consumes it and may change the value where it lies. */
MANTA_API int manta_view(manta_ref ref, const void **ret_data, size_t *ret_bytes);
/* Gives back what one manta_view of this ref lent. MANTA_E_STATE when nothing is lent. */
MANTA_API int manta_unview(manta_ref ref);
/* Waits until at least k of n are ready (failed ones count), or MANTA_E_TIMEOUT. ret_ready[n]
 * (may be NULL) gets 1 or 0, also on time-out. Refs must differ. k = 0 returns at once. */
MANTA_API int manta_wait(const manta_ref *refs, size_t n, size_t k, uint64_t timeout_ns,
                         uint8_t *ret_ready);
/* The error record of a ref that failed; MANTA_E_AGAIN while unready, MANTA_E_STATE when it has a
 * value. Never blocks. */
MANTA_API int manta_ref_error(manta_ref ref, manta_error *ret_error);

/* Results in the order they come: add refs, take them as they get ready. Owned; destroy drops
 * nothing. Each O(1). */
typedef struct manta_queue manta_queue;
/* Makes an empty queue. *ret_queue is owned. */
MANTA_API int manta_queue_create(manta_queue **ret_queue);
/* Adds a ref, ready or not; `label` comes back with it. Borrows the ref. */
MANTA_API int manta_queue_add(manta_queue *queue, manta_ref ref, void *label);
/* Blocks until one is ready or MANTA_E_TIMEOUT; MANTA_E_NOTFOUND when nothing is left to wait
 * for. ret_label may be NULL. */
MANTA_API int manta_queue_next(manta_queue *queue, uint64_t timeout_ns, manta_ref *ret_ref,
                               void **ret_label);
/* Frees a queue and forgets what is in it; the refs live on. Accepts NULL. */
MANTA_API void manta_queue_destroy(manta_queue *queue);

/*
 * The next item of a stream (see MANTA_TASK), as soon as it is there: a ref that this scope holds,
 * to get, view, pass on and drop. Items come in order, each once. A stream that failed or was
 * cancelled gives what came before, then one ref with the error, then the end: MANTA_E_END, at
 * every later call too. MANTA_E_TIMEOUT leaves it as it is. One task or thread reads a stream, from
 * the first item on; for another one it is MANTA_E_STATE, or an item with that error. Blocks
 * until there is an item, the end, or timeout_ns has passed.
 */
MANTA_API int manta_next(manta_ref stream, uint64_t timeout_ns, manta_ref *ret_item);

/* ---- Who holds refs ------------------------------------------------------------------------- */

/* Ends this scope's hold on a ref now. The task still runs; cancelling is manta_cancel. */
MANTA_API int manta_drop(manta_ref ref);
/* Keeps a ref beyond its scope, in an actor's state. MANTA_E_STATE anywhere else. */
MANTA_API int manta_keep(manta_ref ref);
/* A block whose refs are dropped at its end, for loops. Nests; end what was begun in the same
 * task or thread. */
MANTA_API int manta_scope_begin(void);
/* Ends the innermost block: drops the refs made in it. MANTA_E_STATE without a block. */
MANTA_API int manta_scope_end(void);

/* ---- Inside a task -------------------------------------------------------------------------- */

/* Room for `count` elements of a variable result, to be filled by the body; call once. Of more than
 * MANTA_INLINE_MAX bytes it is memory that the node's ranks share, where others will read it, and
 * what it holds before is not defined; else it is zeroed. NULL when there is none, as
 * manta_last_error says; refs may take at most MANTA_INLINE_MAX bytes. Blocks while pages are
 * cleared. */
MANTA_API void *manta_outv_alloc(manta_outv *out, size_t count);
/*
 * Gives out the next item of this task's stream: `count` elements, copied, or those of
 * manta_yield_alloc in place. Blocks while the reader is too far behind (options ahead,
 * ahead_kib). MANTA_E_CANCELLED when the task was cancelled or nobody can read the stream any
 * more, MANTA_E_TIMEOUT after its time limit: clean up and return. From the task's own body.
 */
MANTA_API int manta_yield(manta_source *stream, const void *items, size_t count);
/* Room for the next item's `count` elements, to be filled and given to manta_yield, in the memory
 * that it will be read from: as manta_outv_alloc, once per item. NULL when there is none, as
 * manta_last_error says. Blocks while pages are cleared. */
MANTA_API void *manta_yield_alloc(manta_source *stream, size_t count);
/* Fills this task's error record and returns `code`, for `return manta_fail(...)`. code: negative
 * MANTA_E_ or your own, positive. */
MANTA_API int manta_fail(int code, const char *format, ...) MANTA_PRINTF(2, 3);
/* True when the task was cancelled or its time is over: clean up and return. Cheap. */
MANTA_API bool manta_cancelled(void);

/* Asks a task not to run, or to stop (manta_cancelled). Its refs fail with MANTA_E_CANCELLED at
 * once, dependents too; its own unfinished children that are neither returned nor kept are
 * cancelled as well. A finished task is left alone. From any holder. */
MANTA_API int manta_cancel(manta_ref ref);

/* The record of the last failed call of this task or thread. Empty (code 0) before any; E_STATE
 * before start and after stop. */
MANTA_API const manta_error *manta_last_error(void);

/* ---- Start, stop, world --------------------------------------------------------------------- */

typedef int (*manta_driver)(int argc, char **argv);

/*
 * The whole life of a program: starts this rank, runs `driver` on rank 0, serves until
 * it returns. Every rank returns the driver's result (0 to 255; what is negative is
 * printed and becomes 1). Call from main, once. Installs handlers for SIGTERM and for
 * stack overflow. Blocks until the end.
 */
MANTA_API int manta_run(int argc, char **argv, manta_driver driver);

/* What manta_init may be given. All zero is the default. */
typedef struct manta_config {
    void (*log)(void *arg, int level, const char *line); /* 1 error, 2 warning, 3 info */
    void *log_arg;
    uint32_t workers;     /* threads that run tasks; 0: one per core of this rank's share */
    const void *mpi_comm; /* the program's own MPI_Comm, by its address; NULL: MPI_COMM_WORLD */
    uint64_t reserved[7];
} manta_config;

/* For programs that own main: starts this rank (collective over the launcher's ranks, or over the
 * processes of config.mpi_comm, which are then the ranks in their order there; it is duplicated and
 * stays the program's); then every rank may submit. */
MANTA_API int manta_init(const manta_config *config);
/* Ends what manta_init began (collective): waits until every rank is here. */
MANTA_API int manta_fini(void);

typedef struct manta_world {
    uint32_t rank, size;
    uint32_t workers;    /* of this rank */
    uint32_t cores;      /* of this rank's share */
    uint32_t node_ranks; /* ranks on this node */
    const char *host;    /* borrowed until the end */
} manta_world;

/* MANTA_E_STATE before start and after stop. */
MANTA_API int manta_world_get(manta_world *ret_world);

/* ---- What a rank has done ------------------------------------------------------------------- */

/* Counts of the calling rank since its start, unless it says now. */
typedef struct manta_stats {
    uint64_t submitted, completed; /* tasks, maps and puts of this rank */
    uint64_t executed;             /* bodies begun here, whoever submitted them */
    uint64_t inlined;              /* of those: called by the very body that waited for it */
    uint64_t parked;               /* times a body that waited was put aside with its stack */
    uint64_t retried, adopted;     /* run again after a failure or a death; found again after one */
    uint64_t messages_sent, messages_received; /* between ranks, and of a rank to itself */
    uint64_t bytes_sent, bytes_received;       /* their headers and bodies */
    uint64_t overflowed;                       /* messages sent that found their way full */
    uint64_t bells, sleeps; /* other ranks woken; times this one slept for want of anything to do */
    uint64_t turns;         /* looks for messages */
    uint64_t unfinished;    /* now: tasks of this rank that are not done */
    uint64_t pending,
        ready;           /* now: of these, waiting for a place; bodies here, waiting for a worker */
    uint64_t parked_now; /* now: bodies here on stacks put aside */
    uint64_t records;    /* now: tasks of this rank whose refs are held, or that are not done */
} manta_stats;

/* Fills *ret_stats in about a tenth of a microsecond; a difference of two says what lay between.
 * Never blocks. Any thread. MANTA_E_STATE, MANTA_E_INVALID. */
MANTA_API int manta_stats_get(manta_stats *ret_stats);

/* ---- Where memory is ------------------------------------------------------------------------ */

/* Fills text[size] with a line for a person: what made the value, where its bytes are, who holds
 * it; as far as the calling rank knows. Never blocks. MANTA_E_NOTFOUND: the caller does not hold
 * it. */
MANTA_API int manta_explain(manta_ref ref, char *ret_text, size_t size);

typedef struct manta_store_info {
    uint64_t bound_bytes;                   /* of the node; 0: there is no store */
    uint64_t held_bytes;                    /* of the node: pages in memory */
    uint64_t own_bytes, own_values;         /* of this rank's share, in memory or on disk */
    uint64_t pinned_bytes;                  /* that this rank reads in place now */
    uint64_t spilled_bytes, restored_bytes; /* by this rank since its start, as what follows */
    uint64_t waits;                         /* values and tasks that had to wait for room */
    uint64_t copied, evicted; /* copies of values of other nodes: made, given up again */
} manta_store_info;

/* Never blocks. */
MANTA_API int manta_store_stats(manta_store_info *ret_info);

typedef enum manta_where {
    MANTA_IN_MEMORY,
    MANTA_ON_DISK,
    MANTA_BEING_WRITTEN,
} manta_where;

/* A value in the store of this node. */
typedef struct manta_object {
    uint64_t parent; /* with the position: its ref */
    uint32_t position;
    uint32_t rank;  /* in whose share it is: who made or copied it */
    uint32_t owner; /* as far as the calling rank knows; UINT32_MAX: it does not */
    manta_where where;
    bool is_copy;      /* of a value of another node */
    bool is_read_here; /* by the calling rank, now */
    uint64_t bytes;
    const char *task, *file; /* that made it, "" if not known; borrowed until the end */
    uint32_t line;
} manta_object;

/* Calls each(arg, object) for all values in the store of this node, a snapshot of a moving thing.
 * `object` is borrowed for the call. MANTA_E_NOMEM. */
MANTA_API int manta_store_each(void (*each)(void *arg, const manta_object *object), void *arg);

/*
 * Writes what the stores of all nodes hold to a new file at `path`, a line for each value with tabs
 * between: bytes; where (memory, disk, written: being made); whose share; the owner's rank; other
 * ranks that hold the ref; ranks that read it now; its ref; the task that made it and where that is
 * written ("copy": of a value of another node). "-" where there is none. Asks every rank, and stops
 * none: what moves meanwhile may be missed. Blocks until all have answered, without a worker or
 * room in the store. From a driver, a thread or a body. MANTA_E_SYSTEM: the file cannot be written,
 * MANTA_E_NOMEM, MANTA_E_INVALID.
 *
 *     manta_store_dump("values.tsv");
 */
MANTA_API int manta_store_dump(const char *path);

typedef enum manta_moment { MANTA_AT_START, MANTA_AT_STOP } manta_moment;
/* Calls hook(arg) on every rank that registers it: at start before any task, at stop after the
 * last; at most 16 each. Before manta_run or manta_init. A start hook that returns non-zero fails
 * the start with that code. */
MANTA_API int manta_hook(manta_moment moment, int (*hook)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#include <manta/array.h>
#include <manta/rng.h>
#include <manta/task.h>

#include <manta/command.h>

#endif
