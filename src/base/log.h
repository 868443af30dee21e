/* One line at the boundary. Rooms fill error records and do not log; the process's edges do. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/compiler.h"

enum base_log_level { BASE_LOG_ERROR = 1, BASE_LOG_WARN, BASE_LOG_INFO, BASE_LOG_DEBUG };

typedef void (*base_log_function)(void *arg, int level, const char *line);

struct base_log {
    base_log_function write; /* NULL: silent */
    void *arg;
    int level; /* lines above it are dropped; 0: none pass */
};

/* Writes to standard error, "manta: " in front, one write call per line. */
void base_log_to_stderr(void *arg, int level, const char *line);
void base_log(const struct base_log *log, int level, const char *format, ...) MT_PRINTF(3, 4);

#endif
