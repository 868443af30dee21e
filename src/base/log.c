/*
 * One line per call, whole: it is formatted on the stack and handed over in one piece,
 * and the standard-error sink writes it with one system call, so that the lines of
 * several ranks on one terminal do not mix. A line too long for the buffer is cut and
 * ends in "...". A failing standard error loses the line and nothing else.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

void base_log_to_stderr(void *arg, int level, const char *line)
{
    char out[LINE_MAX_BYTES + 16];
    int saved_errno = errno;
    int length = snprintf(out, sizeof out - 1, "manta: %s", line);
    size_t size = MT_MIN((size_t)length, sizeof out - 2);
    out[size++] = '\n';
    ssize_t written = write(STDERR_FILENO, out, size);
    (void)written;
    errno = saved_errno;
}

void base_log(const struct base_log *log, int level, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    if (!log->write || level > log->level) {
        return;
    }
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0) {
        return;
    }
    if ((size_t)length >= sizeof line) {
        memcpy(line + sizeof line - 4, "...", 4);
    }
    log->write(log->arg, level, line);
}
