/* Built twice, with tasks that differ: ranks of one job must not. */
#include <manta/manta.h>

#ifdef DIFFERS_LEFT
MANTA_TASK(weigh, val(int64_t, what), out(double, grams))
#else
MANTA_TASK(weigh, val(float, what), out(double, grams))
#endif
{
    *grams = (double)what;
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
