/* What commands inherit; see environment.c. */
#ifndef SPAWN_ENVIRONMENT_H
#define SPAWN_ENVIRONMENT_H

#include "base/compiler.h"

#include <stdbool.h>

/* True for a variable by which a launcher tells a process its place. */
bool environment_is_launchers(const char *variable);
/* A copy without these, with `added` at the end: one owned block (base_free), NULL-terminated.
 * NULL when memory is out. */
char **environment_clean(const char *const *environment, const char *added);

#endif
