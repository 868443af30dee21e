/*
 * External programs as tasks. ISO C17 and C++17. Part of <manta/manta.h>.
 *
 *     const char *argv[] = {"gzip", "-c", "-9", NULL};
 *     manta_ref packed = manta_command(MANTA_OPTIONS(.timeout_ns = 60000000000), argv,
 *                                      MANTA_COMMAND_SETUP(.input_path = "run7.log",
 *                                                          .out = {MANTA_STREAM_FILE, "run7.gz"}));
 *     manta_command_result result;
 *     int code = manta_command_get(packed, &result);
 *
 * A command runs on some rank's node, beside the tasks: no worker waits for it. A rank runs as many
 * at once as it has workers (MANTA_COMMANDS), one CPU each unless options.cpus says otherwise; the
 * others wait their turn. It is a task in every other way: its ref can be waited for, cancelled
 * (the program is ended), named, retried, pinned to a rank; if its rank dies it runs again
 * elsewhere, so it should bear being begun twice.
 *
 * An exit code other than 0 is an error, MANTA_E_TASK, whose record names the program, the code and
 * the last line of its standard error. So are a signal (MANTA_E_CRASH), the end of
 * options.timeout_ns (MANTA_E_TIMEOUT), of options.memory_bytes (MANTA_E_NOMEM), and a program that
 * cannot be begun (MANTA_E_NOTFOUND, ...). options.retry_errors has these run again.
 *
 * It gets the environment of its rank, without what the launcher (mpirun, srun) set there for MPI.
 */
#ifndef MANTA_COMMAND_H
#define MANTA_COMMAND_H

#include <manta/manta.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most bytes of each stream's end that a result can hold. */
#define MANTA_COMMAND_TAIL_MAX 16384

/* Where a command's output goes. */
typedef enum manta_stream_to {
    MANTA_STREAM_CAPTURED, /* its end into the result; all of it into MANTA_COMMAND_LOG, if set */
    MANTA_STREAM_NOTHING,  /* nowhere */
    MANTA_STREAM_FILE,     /* path, made or emptied */
    MANTA_STREAM_APPEND,   /* the same, at its end */
    MANTA_STREAM_RANK,     /* where the rank's own goes */
    MANTA_STREAM_STDOUT    /* of err only: where standard output goes */
} manta_stream_to;

/* One of a command's two output streams. */
typedef struct manta_stream {
    manta_stream_to to;
    const char *path; /* of MANTA_STREAM_FILE and _APPEND; relative to the command's directory */
} manta_stream;

/* How a command runs; all is copied. All zero is the default. */
typedef struct manta_command_setup {
    const char *directory;          /* NULL: the rank's own */
    const char *const *environment; /* "NAME=value" to set, "NAME" to unset; NULL at the end */
    int32_t environment_whole;      /* 1: it gets these variables and no others */
    int32_t accept_codes;           /* 1: an exit code other than 0 is a result, not an error */
    const void *input;              /* its standard input, input_bytes of it; none: empty */
    size_t input_bytes;
    const char *input_path; /* the same from a file */
    manta_stream out, err;
    uint32_t tail_bytes;    /* of each stream's end in the result; 0: 4096 */
    uint32_t after_len;     /* refs in after */
    const manta_ref *after; /* it begins when these are ready; if one failed it fails too */
    uint64_t grace_ns;      /* from SIGTERM to SIGKILL when it is ended; 0: SIGKILL at once */
    uint64_t output_bytes;  /* of each stream that the log keeps; 0: all */
    uint64_t reserved[4];
} manta_command_setup;

/* What became of a command that is no error. */
typedef struct manta_command_result {
    int32_t exit_code;
    int32_t pid;
    uint32_t rank;    /* that ran it */
    uint32_t attempt; /* 1 is the first */
    uint64_t task_id; /* names its output in the log */
    uint64_t wall_ns, user_ns, system_ns;
    uint64_t max_rss_bytes;          /* most memory of its largest process */
    uint64_t out_bytes, err_bytes;   /* captured from it */
    uint64_t lost_bytes;             /* of these not in the log, though it was to keep them */
    const char *out_tail, *err_tail; /* the ends of its output; a NUL follows each */
    uint32_t out_tail_bytes, err_tail_bytes;
} manta_command_result;

/*
 * Submits a program as a task. argv[0] is looked up in PATH; a NULL ends argv. options and setup
 * may be NULL. Arguments, environment, input and after together take at most MANTA_INLINE_MAX
 * bytes. Never blocks for long. The zero ref when argv or setup are wrong, and manta_last_error
 * says what; every other error is the ref's.
 */
MANTA_API manta_ref manta_command(const manta_options *options, const char *const *argv,
                                  const manta_command_setup *setup);

/* Waits for a command and gives what became of it. The tails are borrowed until manta_unview, or
 * the ref is dropped. Its error's code if it failed; MANTA_E_TYPE for a ref of anything else. */
MANTA_API int manta_command_get(manta_ref ref, manta_command_result *ret_result);

/* The same from the value of such a ref, as a task has it that takes the ref by in(char, x):
 * manta_command_read(x, x_len, &result). The tails point into it. Any context. */
MANTA_API int manta_command_read(const void *value, size_t bytes, manta_command_result *ret_result);

#ifdef __cplusplus
}
#endif

/*
 * MANTA_COMMAND_SETUP(.directory = "run7", .accept_codes = 1): a const manta_command_setup * with
 * these members and the others at their defaults. It lives as long as one of MANTA_OPTIONS.
 */
#ifdef __cplusplus
#define MANTA_COMMAND_SETUP(...)                                                                   \
    (manta_command_setup_made_([&](manta_command_setup &manta_made_) {                             \
         (void)manta_made_;                                                                        \
         MANTA_EACH_(MANTA_SET_, manta_made_, __VA_ARGS__)                                         \
     }).get())

extern "C++" {

/* As manta_options_made_. */
struct manta_command_setup_made_ {
    manta_command_setup setup;
    template <class Set> explicit manta_command_setup_made_(Set set) : setup()
    {
        set(setup);
    }
    const manta_command_setup *get() const
    {
        return &setup;
    }
};
}
#else
#define MANTA_COMMAND_SETUP(...) (&(const manta_command_setup){.reserved = {0}, __VA_ARGS__})
#endif

#endif
