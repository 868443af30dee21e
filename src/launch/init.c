/* manta_init and manta_fini: ranks inside a program that owns main, and MPI if it has one. */
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
    return code;
}

MT_EXPORT int manta_init(const manta_config *config)
{
    static const manta_config standard;
    manta_world world;
    pthread_mutex_lock(&lock);
    int code = current || manta_world_get(&world) == MANTA_OK ? MANTA_E_STATE
                                                              : start(config ? config : &standard);
    pthread_mutex_unlock(&lock);
    return code;
}

MT_EXPORT int manta_fini(void)
{
    pthread_mutex_lock(&lock);
    struct process *process = current;
    int code = MANTA_E_STATE;
    if (process) {
        code = process_meet(process);
        int ended = process_end(process, 0);
        code = code ? code : ended ? MANTA_E_RANK : MANTA_OK;
        current = NULL;
    }
    pthread_mutex_unlock(&lock);
    return code;
}
