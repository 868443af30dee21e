/*
 * What there is to run on: the cores of each rank's share, beside what hwloc says of the
 * cores that this process may use. Alone, the two are equal.
 */
#include <hwloc.h>
#include <manta/manta.h>
#include <stdio.h>

struct share {
    uint32_t cores;
    uint32_t workers;
    char host[56];
};

MANTA_TASK(ask_share, out(struct share, share))
{
    manta_world world;
    int rc = manta_world_get(&world);
    if (rc != MANTA_OK) {
        return rc;
    }
    share->cores = world.cores;
    share->workers = world.workers;
    snprintf(share->host, sizeof share->host, "%s", world.host);
    return MANTA_OK;
}

/* The cores with at least one hardware thread in this process's binding; 0 on failure. */
static int count_cores(void)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) {
        return 0;
    }
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    int count = 0;
    if (allowed && hwloc_topology_load(topology) == 0 &&
        hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS) == 0) {
        for (hwloc_obj_t core = NULL;
             (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core));) {
            count += hwloc_bitmap_intersects(core->cpuset, allowed);
        }
    }
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(topology);
    return count;
}

static int driver(int argc, char **argv)
{
    manta_world world;
    int rc = manta_world_get(&world);
    for (uint32_t rank = 0; rank < world.size && rc == MANTA_OK; rank++) {
        struct share share;
        rc = ask_share_get(ask_share_async(MANTA_OPTIONS(.rank = MANTA_ON(rank))), &share);
        if (rc == MANTA_OK) {
            printf("rank %u on %s: %u cores, %u workers\n", rank, share.host, share.cores,
                   share.workers);
        }
    }
    if (rc == MANTA_OK && world.size == 1) {
        int cores = count_cores();
        printf("cores: %u, hwloc: %d\n", world.cores, cores);
        rc = (int)world.cores != cores;
    }
    return rc;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
