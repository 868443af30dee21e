/* The first program of <manta/manta.h>, to be compiled as C17 and as C++17. */
#include <manta/manta.h>

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(nothing)
{
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    int64_t y;
    (void)argc;
    (void)argv;
    MANTA_TRY(nothing_get(nothing_async(MANTA_OPTIONS(.name = "idle", .priority = -1))));
    return square_get(square_async(NULL, 7), &y);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
