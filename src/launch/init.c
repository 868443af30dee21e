/* manta_init and manta_fini: ranks inside a program that owns main, and MPI if it has one. */
#include "core/core.h"
#include "launch/process.h"

#include <pthread.h>

/* One at a time, in one process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct process *current;

static int start(const struct manta_config *config)
{
    struct base_log log = {config->log, config->log_arg, BASE_LOG_WARN};
    char text[PROCESS_TEXT_MAX] = "";
    bool is_speaker;
    int code = process_start(PROCESS_GUEST, config, &log, &current, &is_speaker, text);
    if (code != MANTA_OK && is_speaker) {
        process_tell(&log, code, text);
    }
    return code == MANTA_OK ? MANTA_OK : core_fail_outside(code, "%s", text);
}

static int refuse(void)
{
    return core_fail_outside(MANTA_E_STATE,
                             core_is_isolated()
                                 ? "an isolated task runs in a process of its own, which is no rank"
                                 : "Manta runs already in this process: manta_init is for once, "
                                   "until manta_fini, and not beside manta_run");
}

MT_EXPORT int manta_init(const manta_config *config)
{
    static const manta_config standard;
    manta_world world;
    pthread_mutex_lock(&lock);
    bool is_running = current || core_is_isolated() || manta_world_get(&world) == MANTA_OK;
    int code = is_running ? refuse() : start(config ? config : &standard);
    pthread_mutex_unlock(&lock);
    return code;
}

static int end(struct process *process)
{
    int code = process_meet(process);
    int ended = process_end(process, 0);
    return code ? code : ended ? MANTA_E_RANK : MANTA_OK;
}

MT_EXPORT int manta_fini(void)
{
    pthread_mutex_lock(&lock);
    struct process *process = current;
    int code = process ? end(process) : MANTA_E_STATE;
    current = NULL;
    pthread_mutex_unlock(&lock);
    return code == MANTA_OK ? MANTA_OK
           : process        ? core_fail_outside(code, "the job ended before its time: a rank died, "
                                                             "was stopped, or did not come")
                            : core_fail_outside(code, "manta_fini without manta_init");
}
