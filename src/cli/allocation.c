/*
 * Slurm counts CPUs, which are hardware threads on most sites; Manta counts cores. The nodes of an
 * allocation are taken to have as many threads per core as this one.
 */
#include "cli/allocation.h"

#include <stdlib.h>
#include <string.h>

static const char *find(const char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (; *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') {
            return *environment + length + 1;
        }
    }
    return NULL;
}

/* 0: it is no number; *text is behind it then. */
static uint32_t read_number(const char **text)
{
    char *end = (char *)*text;
    unsigned long number = **text >= '0' && **text <= '9' ? strtoul(*text, &end, 10) : 0;
    *text = end;
    return number > INT32_MAX ? 0 : (uint32_t)number;
}

static uint32_t find_number(const char *const *environment, const char *name)
{
    const char *text = find(environment, name);
    return text ? read_number(&text) : 0;
}

/* "72(x2)" or "72". */
static bool read_run(const char **text, uint32_t *ret_cpus, uint32_t *ret_times)
{
    uint32_t cpus = read_number(text), times = 1;
    if (strncmp(*text, "(x", 2) == 0) {
        *text += 2;
        times = read_number(text);
        if (*(*text)++ != ')') {
            return false;
        }
    }
    *ret_cpus = cpus;
    *ret_times = times;
    return cpus && times;
}

bool allocation_read_cpus(const char *text, uint32_t *ret_total, uint32_t *ret_least)
{
    uint64_t total = 0;
    uint32_t least = UINT32_MAX, cpus, times;
    for (bool is_last = false; !is_last; text++) {
        if (!read_run(&text, &cpus, &times)) {
            return false;
        }
        total += (uint64_t)cpus * times;
        least = MT_MIN(least, cpus);
        is_last = *text == 0;
        if ((!is_last && *text != ',') || total > UINT32_MAX) {
            return false;
        }
    }
    *ret_total = (uint32_t)total;
    *ret_least = least;
    return true;
}

struct allocation allocation_find(const char *const *environment, uint32_t cores, uint32_t pus)
{
    uint32_t total, least, threads = MT_MAX(1u, pus / MT_MAX(1u, cores));
    struct allocation here = {.nodes = 1, .cores = cores, .node_cores = cores, .threads = threads};
    const char *cpus = find(environment, "SLURM_JOB_CPUS_PER_NODE");
    if (!find(environment, "SLURM_JOB_ID") || !cpus ||
        !allocation_read_cpus(cpus, &total, &least)) {
        return here;
    }
    return (struct allocation){
        .is_slurm = true,
        .nodes = MT_MAX(1u, find_number(environment, "SLURM_JOB_NUM_NODES")),
        .cores = MT_MAX(1u, total / threads),
        .node_cores = MT_MAX(1u, least / threads),
        .threads = threads,
        .tasks = find_number(environment, "SLURM_NTASKS"),
        .cpus_per_task = find_number(environment, "SLURM_CPUS_PER_TASK"),
    };
}
