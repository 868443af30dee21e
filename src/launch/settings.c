/* The rows are in the order of the struct's fields; docs/launching.md repeats them, and a test
 * compares. */
#include "launch/settings.h"

#include "launch/report.h"

#define ROW(name, type, field, fallback, min, max, help)                                           \
    {                                                                                              \
        name, BASE_CONFIG_##type, offsetof(struct settings, field), fallback, min, max, help       \
    }

#define MS UINT64_C(1000000)
#define SECONDS UINT64_C(1000000000)
#define KIB UINT64_C(1024)
#define GIB (KIB * KIB * KIB)

static const struct base_config_row rows[] = {
    ROW("workers", UINT, workers, 0, 0, 4096,
        "Threads that run tasks on each rank; 0 is one per core of the rank's share."),
    ROW("stack_bytes", BYTES, stack_bytes, 256 * KIB, 16 * KIB, GIB,
        "Stack of a task that runs while another one waits."),
    ROW("parked_max", UINT, parked_max, 4096, 1, 1000000,
        "Tasks of one rank that may wait at once with their stacks put aside."),
    ROW("window_max", UINT, window_max, 1024, 1, 1000000,
        "Tasks that one rank may have under way to another one."),
    ROW("spin", TIME, spin_ns, 20000, 0, SECONDS,
        "How long a waiting thread polls before it sleeps."),
    ROW("store", BYTES, store_bytes, 0, 0, 1024 * 1024 * GIB,
        "Memory of a node for values of more than 64 KiB, all its ranks together; 0 is three "
        "tenths "
        "of what the process may use."),
    ROW("store_patience", TIME, store_patience_ns, 30 * SECONDS, MS, 86400 * SECONDS,
        "How long nothing may run or be given back on a node whose store is full before what waits "
        "last for room is refused."),
    ROW("lineage", BYTES, lineage_bytes, 64 * KIB * KIB, 0, 1024 * 1024 * GIB,
        "Memory of each rank for what it takes to make such values again when their node dies."),
    ROW("log_level", UINT, log_level, 2, 0, 4,
        "What is printed: 0 nothing, 1 errors, 2 warnings too, 3 what happens, 4 everything."),
    ROW("launch_timeout", TIME, launch_timeout_ns, 60 * SECONDS, 100 * MS, 3600 * SECONDS,
        "How long the ranks may take to find each other."),
    ROW("stop_timeout", TIME, stop_timeout_ns, SECONDS, 0, 3600 * SECONDS,
        "How long tasks may go on when the job is ended by a signal or a death, before it is ended "
        "by force."),
    ROW("silence", TIME, silence_ns, 1900 * MS, 100 * MS, 86400 * SECONDS,
        "How long a rank on another host may give no sign of life before it counts as dead; on the "
        "same host five times as long."),
    ROW("pin", SWITCH, is_pinned, 1, 0, 1, "Binds each worker to a core of the rank's share."),
    ROW("alone", SWITCH, is_alone, 0, 0, 1,
        "Ignores the launcher: a world of one, for a program that a rank of another job starts."),
    ROW("expect_rdma", SWITCH, expects_rdma, 0, 0, 1,
        "Warns of TCP between hosts also where no active RDMA device is seen."),
    ROW("commands", UINT, commands, 0, 0, 4096,
        "CPUs that commands and isolated tasks of each rank may occupy at once; 0 is as many as "
        "workers."),
    ROW("memory_reserve", UINT, memory_reserve, 5, 0, 50,
        "Percent of the node's or the job's memory; when less is left, the newest command or "
        "isolated task is ended and run again later; 0 never ends one."),
};

/* Texts, read where they are needed. */
static const char *const others[] = {"MANTA_MPI_LIBRARY",
                                     "MANTA_UCX_LIBRARY",
                                     "MANTA_COMMAND_LOG",
                                     "MANTA_SPILL",
                                     "MANTA_TIMELINE",
                                     REPORT_VARIABLE,
                                     NULL};

const struct base_config_row *settings_rows(size_t *ret_count)
{
    *ret_count = MT_COUNT(rows);
    return rows;
}

int settings_read(const char *const *environment, struct settings *ret_settings, char *text,
                  size_t text_size)
{
    struct settings settings;
    base_config_defaults(rows, MT_COUNT(rows), &settings);
    int code = base_config_environment(rows, MT_COUNT(rows), environment, others, &settings, text,
                                       text_size);
    if (code == MANTA_OK) {
        *ret_settings = settings;
    }
    return code;
}
