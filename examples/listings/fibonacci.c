/*
 * Tasks that submit tasks and wait for them. A waiting task gives its worker to others,
 * so this ends with a single worker too. Two outputs: the number, and how many tasks
 * it took.
 */
#include <inttypes.h>
#include <manta/manta.h>
#include <stdio.h>

MANTA_TASK(fibonacci, val(int32_t, n), out(int64_t, number), out(int64_t, tasks))
{
    *number = n;
    *tasks = 1;
    if (n < 2) {
        return MANTA_OK;
    }
    struct fibonacci_refs parts[2] = {fibonacci_async(NULL, n - 1), fibonacci_async(NULL, n - 2)};
    *number = 0;
    for (int i = 0; i < 2; i++) {
        int64_t part, part_tasks;
        int rc = fibonacci_get(parts[i], &part, &part_tasks);
        if (rc != MANTA_OK) {
            return rc;
        }
        *number += part;
        *tasks += part_tasks;
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    int64_t number, tasks;
    int rc = fibonacci_get(fibonacci_async(NULL, 10), &number, &tasks);
    if (rc == MANTA_OK) {
        printf("%" PRId64 "\n", number);
        fprintf(stderr, "%" PRId64 " tasks\n", tasks);
    }
    return rc;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
