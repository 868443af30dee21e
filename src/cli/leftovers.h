/* Processes of the job on this host, found by the job's secret in their environment. */
#ifndef CLI_LEFTOVERS_H
#define CLI_LEFTOVERS_H

#include "launch/detect.h"

#include <stdbool.h>

/* True while a process lives that a launcher of this kind has made a rank, or that one of these has
 * started. value is the variable's of launch/report.h. */
bool leftovers_has_rank(const char *value, enum launcher_kind kind);

/* Ends all that are not about to end by themselves, by force after a second. Returns how many there
 * were. */
uint32_t leftovers_end(const char *value);

#endif
