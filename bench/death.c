/*
 * How soon a task runs again when its rank is killed. For `mpirun --enable-recovery -n 3`; run.py
 * kills. Each run of the task appends a line to the file it is given: its process and the time
 * (CLOCK_MONOTONIC, ns). The first one then waits for its end. Rank 0 is kept full, so that it is
 * never the one.
 *
 *     bench_death FILE
 */
#include "bench.h"

#include <manta/manta.h>

#include <unistd.h>

enum { FILL = 8, PATIENCE_S = 20 };

MANTA_TASK(fill)
{
    while (!manta_cancelled()) {
        usleep(1000);
    }
    return MANTA_OK;
}

MANTA_TASK(mark, text(path))
{
    FILE *file = fopen(path, "a+");
    char line[64];
    if (!file) {
        return manta_fail(MANTA_E_TASK, "cannot open %s", path);
    }
    fprintf(file, "%d %llu\n", (int)getpid(), (unsigned long long)bench_now_ns());
    fflush(file);
    rewind(file);
    int lines = 0;
    while (fgets(line, sizeof line, file)) {
        lines++;
    }
    fclose(file);
    if (lines == 1) {
        sleep(PATIENCE_S);
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    if (argc != 2) {
        return fprintf(stderr, "usage: bench_death FILE\n") > 0;
    }
    for (int i = 0; i < FILL; i++) {
        fill_async(MANTA_OPTIONS(.rank = MANTA_ON(0)));
    }
    return mark_get(mark_async(NULL, argv[1]));
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
