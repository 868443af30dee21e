#include "cli/tell.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void tell(const char *format, ...)
{
    char line[2048] = "manta run: ";
    size_t head = strlen(line);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line + head, sizeof line - head - 1, format, args);
    va_end(args);
    size_t size = MT_MIN(head + (size_t)MT_MAX(length, 0), sizeof line - 2);
    line[size++] = '\n';
    (void)!write(STDERR_FILENO, line, size);
}

int tell_failed(const char *what)
{
    tell("%s: %s", what, strerror(errno));
    return CLI_FAILED;
}
