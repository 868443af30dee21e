/* For drivers: prints what does not hold, with the last error, and fails the driver. */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include <manta/manta.h>

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

#endif
