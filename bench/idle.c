/* Starts and does nothing for as many seconds as it is told (0): start-up time and idle ranks. */
#include <manta/manta.h>
#include <stdlib.h>
#include <unistd.h>

static int driver(int argc, char **argv)
{
    if (argc > 1) {
        sleep((unsigned)atoi(argv[1]));
    }
    return MANTA_OK;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
