/*
 * For drivers: what does not hold is printed, with the last error, and fails the driver; where the
 * driver is; units. `far` is the last rank, which on one rank is the driver's own.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include <manta/manta.h>

#include <string.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

/* The user includes <cmocka.h> first, with what that wants before it. */
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            char line_[512];                                                                       \
            manta_error_format(manta_last_error(), line_, sizeof line_);                           \
            print_message("%s:%d: %s; last error %s\n", __func__, __LINE__, #what, line_);         \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static inline uint32_t world_size(void)
{
    manta_world world;
    return manta_world_get(&world) == MANTA_OK ? world.size : 1;
}

static inline manta_options on_far(void)
{
    return (manta_options){.rank = MANTA_ON(world_size() - 1)};
}

static inline bool error_says(const char *text)
{
    return strstr(manta_last_error()->text, text) != NULL;
}

#endif
