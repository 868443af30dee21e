/*
 * topo: the machine as this process may use it.
 *
 * What the launcher granted is the intersection of hwloc's topology with the
 * process's affinity mask. Ranks of one node that share a mask split its cores
 * among themselves; with more ranks than cores each counts one core and may run on
 * all of them, so that the kernel can level the load. Memory is the least of all limits
 * that hold: every ancestor cgroup (v1 and v2), what is available, RLIMIT_AS; never
 * hwloc's figure alone.
 */
#ifndef TOPO_TOPO_H
#define TOPO_TOPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct topo; /* opaque; wraps hwloc */

struct topo_source {
    const char *xml_path; /* recorded machine; NULL: this one */
    const char
        *mask; /* hwloc list syntax, e.g. "0-3,8", in place of the affinity; NULL: ask the system */
    const char *cgroup_root; /* in place of /sys/fs/cgroup; NULL: the system's */
    const char *proc_root;   /* in place of /proc; NULL */
};

int topo_create(const struct topo_source *source, struct topo **ret_topo);
void topo_destroy(struct topo *topo);

unsigned topo_core_count(const struct topo *topo); /* physical cores granted */
unsigned topo_pu_count(const struct topo *topo);   /* hardware threads granted */
uint64_t topo_memory_limit_bytes(const struct topo *topo);
/* The granted mask as a hwloc list string, for comparing ranks' masks. Borrowed. */
const char *topo_mask_string(const struct topo *topo);

/* This rank's part when `sharers` ranks hold the same mask and it is number `index` of them
 * (0-based). ret_cores: number of cores it owns, at least 1; ret_shared: true when cores are shared
 * with other ranks. */
void topo_share(struct topo *topo, unsigned index, unsigned sharers, unsigned *ret_cores,
                bool *ret_shared);
/* The cpuset (hwloc_const_cpuset_t) of worker `worker` of this rank's share; the whole grant when
 * cores are shared among ranks. Borrowed. */
const void *topo_worker_cpuset(const struct topo *topo, unsigned worker);
void *topo_handle(const struct topo *topo); /* hwloc_topology_t. Borrowed. */

/* Golden text of the whole picture (cores, share, workers' cpusets, memory limit); returns the
 * length as snprintf does. */
int topo_describe(const struct topo *topo, char *text, size_t size);

#endif
