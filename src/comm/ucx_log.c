/*
 * UCX prints what it finds remarkable to standard output: a peer's death makes it say several
 * lines, and standard output is the program's. Deaths are told once, by the launch room, so here
 * UCX is silent unless the user has asked for its voice (UCX_LOG_LEVEL) or it is about to abort.
 */
#include "comm/ucx.h"

#include <pthread.h>
#include <stdlib.h>
#include <ucs/debug/log_def.h>

static ucs_log_func_rc_t swallow(const char *file, unsigned line, const char *function,
                                 ucs_log_level_t level, const ucs_log_component_config_t *component,
                                 const char *message, va_list args)
{
    return level == UCS_LOG_LEVEL_FATAL ? UCS_LOG_FUNC_RC_CONTINUE : UCS_LOG_FUNC_RC_STOP;
}

static void be_quiet(void)
{
    const char *wanted = getenv("UCX_LOG_LEVEL");
    if (!wanted || !*wanted) {
        ucs_log_push_handler(swallow);
    }
}

void ucx_log_be_quiet(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, be_quiet);
}
