/* What the program says, on standard error: one line, one write. */
#ifndef CLI_TELL_H
#define CLI_TELL_H

#include "base/compiler.h"

/* The codes that are manta's own; all others are the job's. */
enum {
    CLI_USAGE = 2,
    CLI_TIMEOUT = 124,
    CLI_FAILED = 125, /* it could not do its work */
    CLI_NOT_EXECUTABLE = 126,
    CLI_NOT_FOUND = 127,
};

void tell(const char *format, ...) MT_PRINTF(1, 2);

/* "No memory" and its like: told; returns CLI_FAILED. */
int tell_failed(const char *what);

#endif
