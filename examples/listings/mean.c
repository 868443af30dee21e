/*
 * A million doubles are put once; ten tasks read them where they lie and return the mean. However
 * many read, a node has them once.
 */
#include <manta/manta.h>
#include <stdio.h>

enum { NUMBERS = 1000000, TASKS = 10 };

MANTA_TASK(mean, in(double, x), out(double, m))
{
    for (size_t i = 0; i < x_len; i++) {
        *m += x[i];
    }
    *m /= (double)x_len;
    return MANTA_OK;
}

/* Filled where it will be read. The ref is zero when there is no room for it. */
static manta_ref put_numbers(void)
{
    const manta_ref none = {0};
    manta_rng rng = manta_rng_stream(2024, 0);
    manta_room room;
    double *x = manta_put_alloc(double, &room, NUMBERS);
    if (!x) {
        return none;
    }
    for (int i = 0; i < NUMBERS; i++) {
        x[i] = manta_rng_uniform(&rng);
    }
    return manta_put_end(room);
}

static int driver(int argc, char **argv)
{
    manta_ref means[TASKS], numbers = put_numbers();
    for (int i = 0; i < TASKS; i++) {
        means[i] = mean_async(NULL, numbers);
    }
    for (int i = 0; i < TASKS; i++) {
        double m;
        MANTA_TRY(mean_get(means[i], &m));
        printf("%s%.6f", i == 0 ? "[" : ", ", m);
    }
    printf("]\n");
    return MANTA_OK;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
