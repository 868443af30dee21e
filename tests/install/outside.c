/* A program of someone else's, built against the installed library as C17 and as C++17. */
#include <manta/manta.h>
#include <stdio.h>

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(dice, val(uint64_t, seed), out(uint64_t, points))
{
    manta_rng rng = manta_rng_stream(seed, manta_map_index());
    *points = manta_rng_below(&rng, 6) + 1;
    return MANTA_OK;
}

MANTA_TASK(trace, in(double, x), out(double, sum))
{
    manta_layout layout;
    MANTA_TRY(manta_layout_of(x, &layout));
    for (size_t i = 0; i < layout.shape[0]; i++) {
        *sum += x[i * layout.shape[1] + i];
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    int64_t y = 0;
    uint64_t points[10], sum = 0;
    const double x[2][2] = {{1, 2}, {3, 4}};
    double diagonal = 0;
    manta_array array;
    (void)argc;
    (void)argv;
    MANTA_TRY(square_get(square_async(MANTA_OPTIONS(.name = "seven squared"), 7), &y));
    manta_ref matrix = manta_put_array(double, &x[0][0], 2, 2);
    MANTA_TRY(trace_get(trace_async(NULL, matrix), &diagonal));
    MANTA_TRY(manta_view_array(double, matrix, &array, 2, MANTA_ANY));
    MANTA_TRY(manta_unview(matrix));
    MANTA_TRY(dice_map_get(dice_map(NULL, 10, 2024), points, 10));
    for (int i = 0; i < 10; i++) {
        sum += points[i];
    }
    printf("%d %d %s %g\n", (int)y, (int)(sum >= 10 && sum <= 60),
           manta_error_name(MANTA_E_TIMEOUT), diagonal);
    return MANTA_OK;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
