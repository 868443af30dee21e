/* Records of values that no task makes. */
#ifndef CORE_PUT_H
#define CORE_PUT_H

#include "core/object.h"

struct context;

/* One in the caller's scope, for a value that the caller completes it with; `function` says what it is
 * called and has one variable output. NULL: last_error says why. Baton held. */
struct task *put_make_record(struct context *context, manta_function *function);

#endif
