/* Deadlines of the system's clock, for tests of real processes. */
#ifndef TESTS_LAUNCH_DEADLINE_H
#define TESTS_LAUNCH_DEADLINE_H

#include "base/host.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static const struct base_host *const host = &base_host_real;

static inline uint64_t in(uint64_t ns)
{
    return base_deadline_after(base_now_ns(host), ns);
}

#endif
