/* Tasks that read values of doubles: as an argument, and by a ref that they look at. */
#ifndef TESTS_SIM_VALUES_H
#define TESTS_SIM_VALUES_H

#include <manta/manta.h>

MANTA_TASK(sum, in(double, xs), out(double, s))
{
    for (size_t i = 0; i < xs_len; i++) {
        *s += xs[i];
    }
    return MANTA_OK;
}

MANTA_TASK(sum_of_ref, ref(xs), out(double, s))
{
    const void *data;
    size_t bytes;
    MANTA_TRY(manta_view(xs, &data, &bytes));
    for (size_t i = 0; i < bytes / sizeof(double); i++) {
        *s += ((const double *)data)[i];
    }
    return manta_unview(xs);
}

#endif
