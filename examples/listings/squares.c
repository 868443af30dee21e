/* Ten tasks of one second each: as many as there are workers run at the same time. */
#include "clock.h"

#include <inttypes.h>
#include <manta/manta.h>
#include <stdio.h>
#include <time.h>

enum { COUNT = 10 };

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    *y = x * x;
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    manta_ref squares[COUNT];
    int rc = MANTA_OK;
    double start = seconds();
    for (int i = 0; i < COUNT; i++) {
        squares[i] = square_async(NULL, i);
    }
    for (int i = 0; i < COUNT && rc == MANTA_OK; i++) {
        int64_t y;
        rc = square_get(squares[i], &y);
        if (rc == MANTA_OK) {
            printf("%s%" PRId64, i == 0 ? "[" : ", ", y);
        }
    }
    printf("]\n");
    fprintf(stderr, "%d tasks of 1 s in %.1f s\n", COUNT, seconds() - start);
    return rc;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
