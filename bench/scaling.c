/*
 * How the shipped core scales, shown on virtual ranks (tests/sim): one driver submits 20 tasks of
 * 200 us for each of RANKS ranks and waits for them. Computing and submitting take no virtual time,
 * bodies and messages (1 to 20 us, drawn) do. Prints one line of JSON:
 *
 *   messages per task that another rank ran, until the driver returns; messages per rank of the
 * end; bytes of memory per rank, from the allocator and as pages of the process (the simulator's
 * included); virtual milliseconds until every rank has begun a task, until the driver returns, and
 * from then until all have ended; the most tasks that a rank ran, and how many the driver's did;
 * seconds that the simulation took.
 *
 *   bench_scaling RANKS
 */
#include "bench.h"

#include "tests/sim/world.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

enum { TASKS_PER_RANK = 20, WORK_NS = 200000 };

static uint32_t ranks, reached, away;
static uint32_t *begun; /* by rank */
static uint64_t reached_ns, heap_bytes, page_bytes;

MANTA_TASK(spread, val(uint32_t, i))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    away += world.rank != 0;
    if (begun[world.rank]++ == 0) {
        reached_ns = ++reached == ranks ? world_now_ns() : reached_ns;
    }
    core_work(WORK_NS);
    return MANTA_OK;
}

static uint64_t count_pages(void)
{
    unsigned long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%lu %lu", &all, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t count_heap(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int drive(int argc, char **argv)
{
    uint32_t tasks = TASKS_PER_RANK * ranks;
    manta_ref *refs = calloc(tasks, sizeof *refs);
    if (!refs) {
        return 1;
    }
    for (uint32_t i = 0; i < tasks; i++) {
        refs[i] = spread_async(NULL, i);
    }
    int code = manta_wait(refs, tasks, tasks, MANTA_FOREVER, NULL);
    free(refs);
    heap_bytes = count_heap() - heap_bytes;
    page_bytes = count_pages() - page_bytes;
    return code;
}

static uint32_t find_most(void)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < ranks; i++) {
        most = begun[i] > most ? begun[i] : most;
    }
    return most;
}

static void print(const struct world_result *result, double seconds)
{
    printf("{\"ranks\": %u, \"tasks\": %u, \"messages_per_task\": %.4f, \"end_messages_per_rank\": "
           "%.2f, \"heap_bytes_per_rank\": %.0f, \"page_bytes_per_rank\": %.0f, \"reached_ms\": "
           "%.3f, \"driver_ms\": %.3f, \"end_ms\": %.3f, \"most_tasks\": %u, \"driver_tasks\": %u, "
           "\"seconds\": %.2f}\n",
           ranks, TASKS_PER_RANK * ranks, (double)result->driver_messages / away,
           (double)(result->all_messages - result->driver_messages) / ranks,
           (double)heap_bytes / ranks, (double)page_bytes / ranks, (double)reached_ns / 1e6,
           (double)result->driver_ns / 1e6, (double)(result->time_ns - result->driver_ns) / 1e6,
           find_most(), begun[0], seconds);
}

int main(int argc, char **argv)
{
    struct world_result result;
    ranks = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    begun = calloc(ranks ? ranks : 1, sizeof *begun);
    if (ranks < 2 || ranks > 100000 || !begun) {
        fprintf(stderr, "bench_scaling: got '%s', expected a number of ranks, 2 to 100000\n",
                argc > 1 ? argv[1] : "");
        return 2;
    }
    struct world_options options = {.seed = 7, .ranks = ranks};
    uint64_t start_ns = bench_now_ns();
    heap_bytes = count_heap();
    page_bytes = count_pages();
    if (world_run(&options, drive, &result) || world_check("scaling", &options, &result)) {
        return 1;
    }
    print(&result, (double)(bench_now_ns() - start_ns) / 1e9);
    free(begun);
    return 0;
}
