/*
 * manta_run: the whole life of a program.
 *
 * Errors are told here, once, by the lowest rank that knows them; everything below
 * only fills in texts. What the program returns is an exit code, so a negative code is
 * told in words and becomes 1, and what does not fit into a byte becomes 255: 256 must
 * not look like success.
 */
#include "core/core.h"
#include "launch/process.h"
#include "launch/watch.h"

#include <stdatomic.h>
#include <stdio.h>

enum { CODE_FAILED = 1, CODE_MAX = 255 };

static void tell(const struct base_log *log, int code)
{
    char line[1024];
    const manta_error *last = manta_last_error();
    if (last->code == code) {
        manta_error_format(last, line, sizeof line);
        base_log(log, BASE_LOG_ERROR, "the driver failed: %s", line);
    } else {
        base_log(log, BASE_LOG_ERROR, "the driver returned %d: %s (%s)", code,
                 manta_error_text(code), manta_error_name(code));
    }
}

static int drive(struct process *process, const struct base_log *log, int argc, char **argv,
                 manta_driver driver)
{
    int ended, code = driver(argc, argv);
    if (code < 0 && !watch_has_ended(process_watch(process), &ended)) {
        tell(log, code);
    }
    return code < 0 ? CODE_FAILED : MT_MIN(code, CODE_MAX);
}

MT_EXPORT int manta_run(int argc, char **argv, manta_driver driver)
{
    static atomic_flag has_run = ATOMIC_FLAG_INIT;
    struct base_log log = {base_log_to_stderr, NULL, BASE_LOG_WARN};
    struct process *process;
    char text[PROCESS_TEXT_MAX] = "";
    bool is_speaker;
    if (!driver || core_is_isolated() || atomic_flag_test_and_set(&has_run)) {
        base_log(&log, BASE_LOG_ERROR,
                 !driver              ? "manta_run got no driver"
                 : core_is_isolated() ? "manta_run was called in an isolated task"
                                      : "manta_run was called a second time");
        return CODE_FAILED;
    }
    int code = process_start(PROCESS_RUN, NULL, &log, &process, &is_speaker, text);
    if (code != MANTA_OK) {
        if (is_speaker) {
            process_tell(&log, code, text);
        }
        return CODE_FAILED;
    }
    code = process_rank(process) == 0 ? drive(process, &log, argc, argv, driver) : 0;
    return process_end(process, code);
}
