/* What a result says in words: what was asked, what was found, what to do. */
#ifndef SPAWN_REASON_H
#define SPAWN_REASON_H

#include "spawn/start.h"

/* The code for a child that did not begin, its reason in text. */
int reason_refused(const struct request *request, const struct start_failure *failure, char *text,
                   size_t size);
/* The code for a child that ended: `result` has all but its error. `last` is what it wrote last. */
int reason_ended(const char *name, const struct spawn_limits *limits,
                 const struct spawn_result *result, const char *last, char *text, size_t size);

#endif
