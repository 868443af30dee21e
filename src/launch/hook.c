/* Hooks are registered by main, or by constructors, before the ranks start, and only read after
 * that. */
#include "launch/hook.h"

#include "base/compiler.h"
#include "core/core.h"

#include <stdatomic.h>

enum { HOOKS_MAX = 16 };

static struct hooks {
    atomic_uint count;
    struct hook {
        int (*call)(void *arg);
        void *arg;
    } hooks[HOOKS_MAX];
} moments[2];

MT_EXPORT int manta_hook(manta_moment moment, int (*hook)(void *arg), void *arg)
{
    if ((moment != MANTA_AT_START && moment != MANTA_AT_STOP) || !hook) {
        return core_fail_outside(MANTA_E_INVALID,
                                 hook ? "moment is %d; it must be MANTA_AT_START or MANTA_AT_STOP"
                                      : "the hook of moment %d is NULL",
                                 (int)moment);
    }
    struct hooks *hooks = &moments[moment];
    unsigned index = atomic_fetch_add(&hooks->count, 1);
    if (index >= HOOKS_MAX) {
        atomic_store(&hooks->count, HOOKS_MAX);
        return core_fail_outside(MANTA_E_LIMIT, "there are %d hooks at this moment already",
                                 HOOKS_MAX);
    }
    hooks->hooks[index] = (struct hook){hook, arg};
    return MANTA_OK;
}

int hooks_run(manta_moment moment)
{
    const struct hooks *hooks = &moments[moment];
    unsigned count = atomic_load(&hooks->count);
    int code = 0;
    for (unsigned i = 0; i < count && code == 0; i++) {
        code = hooks->hooks[i].call(hooks->hooks[i].arg);
    }
    return code;
}
