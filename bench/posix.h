/* The raw limit of commands: a bare posix_spawn and wait loop. */
#ifndef BENCH_POSIX_H
#define BENCH_POSIX_H

#include <stdint.h>

/* `true` per second, so many in all and at once; 0 when one could not be started. */
double posix_rate(uint32_t count, uint32_t at_once);

#endif
