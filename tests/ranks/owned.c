/*
 * A job that can be told from all others: every task answers with its user and with the number that
 * its process was started with (OWNED_NUMBER), and the driver accepts its own only.
 *
 *     owned ROUNDS [RETRIES]     "running", then "right NUMBER"
 */
#include <manta/manta.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TASKS = 400, TASK_US = 200 };

static int64_t own_number(void)
{
    const char *value = getenv("OWNED_NUMBER");
    return value ? atoll(value) : -1;
}

static int64_t answer(int64_t x)
{
    return (int64_t)getuid() * 1000000000 + own_number() * 1000000 + x;
}

MANTA_TASK(whose, val(int64_t, x), out(int64_t, y))
{
    usleep(TASK_US);
    *y = answer(x);
    return MANTA_OK;
}

static int one_round(const manta_options *options)
{
    manta_ref refs[TASKS];
    for (int64_t i = 0; i < TASKS; i++) {
        refs[i] = whose_async(options, i);
    }
    for (int64_t i = 0; i < TASKS; i++) {
        int64_t y;
        MANTA_TRY(whose_get(refs[i], &y));
        if (y != answer(i)) {
            fprintf(stderr, "task %lld answered %lld\n", (long long)i, (long long)y);
            return 1;
        }
        MANTA_TRY(manta_drop(refs[i]));
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    manta_options options = {.retries = argc > 2 ? atoi(argv[2]) : 0};
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    puts("running");
    fflush(stdout);
    for (int i = 0; i < rounds; i++) {
        int code = one_round(&options);
        if (code != MANTA_OK) {
            fprintf(stderr, "round %d: %s\n", i, manta_last_error()->text);
            return 1;
        }
    }
    printf("right %lld\n", (long long)own_number());
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
