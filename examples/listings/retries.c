/*
 * A task that always fails is tried four times at most (three retries), and the last
 * error comes back with its record. A task that takes too long is waited for with a
 * time-out, then cancelled. `retries 0.5` waits half a second, not ten.
 */
#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { UNRELIABLE = 7 };

MANTA_TASK(unreliable, val(int32_t, x), out(int32_t, y))
{
    return manta_fail(UNRELIABLE, "no luck with %d", (int)x);
}

MANTA_TASK(endless)
{
    while (!manta_cancelled()) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return MANTA_E_CANCELLED;
}

static int retry(void)
{
    int32_t y;
    manta_ref ref = unreliable_async(MANTA_OPTIONS(.retries = 3, .retry_errors = 1), 42);
    if (unreliable_get(ref, &y) != UNRELIABLE) {
        return 1;
    }
    const manta_error *error = manta_last_error();
    printf("Task failed after %u attempts: %s\n", error->attempt, error->text);
    return 0;
}

static int time_out(double seconds)
{
    manta_ref ref = endless_async(NULL);
    int rc = manta_wait(&ref, 1, 1, (uint64_t)(seconds * 1e9), NULL);
    if (rc != MANTA_E_TIMEOUT) {
        return 1;
    }
    printf("Task timeout\n");
    return manta_cancel(ref);
}

static int driver(int argc, char **argv)
{
    int rc = retry();
    return rc != 0 ? rc : time_out(argc > 1 ? strtod(argv[1], NULL) : 10);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
