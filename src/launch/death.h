/* How a process ended, from outside. */
#ifndef LAUNCH_DEATH_H
#define LAUNCH_DEATH_H

#include "base/compiler.h"

#include <stdbool.h>

/* As wait gives it. False: nobody knows. */
bool death_read(int pidfd, uint32_t pid, int *ret_status);

/* "was killed by signal 9 (Killed)", "ended with code 3": what can be found out about the end of a
 * process that is not our child. */
void death_describe(int pidfd, uint32_t pid, char *text, size_t size);

#endif
