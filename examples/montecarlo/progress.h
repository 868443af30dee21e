/*
 * How far a long computation is, with its rate and the time left: one line that is drawn
 * again and again on a terminal, a plain line every ten seconds elsewhere (a log file,
 * a pipe to a launcher). The caller brings the clock, so that all of it can be tested.
 */
#ifndef MONTECARLO_PROGRESS_H
#define MONTECARLO_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum progress_style { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_LINES, PROGRESS_NONE };

struct progress {
    FILE *stream;
    enum progress_style style;
    const char *unit;
    uint64_t total;
    uint64_t start_ns;
    uint64_t shown_ns;
};

/* Starts at now_ns (of any monotonic clock). AUTO becomes BAR or LINES by what the stream is. */
void progress_init(struct progress *progress, FILE *stream, enum progress_style style,
                   const char *unit, uint64_t total, uint64_t now_ns);

/* Whether it is time to show something: lets a caller count what is done only then. */
bool progress_due(const struct progress *progress, uint64_t now_ns);

/* Shows that `done` of the total is done. */
void progress_show(struct progress *progress, uint64_t done, uint64_t now_ns);

/* Shows the last state and ends the line. */
void progress_finish(struct progress *progress, uint64_t done, uint64_t now_ns);

/* "  45 %  12.3 M steps/s  1:02 left"; at the end "... in 1:02". Cut to `size`. */
void progress_format(const struct progress *progress, uint64_t done, uint64_t now_ns, char *text,
                     size_t size);

#endif
