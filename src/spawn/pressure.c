/*
 * How near the node or the job is to its memory limit.
 *
 * Every group from the process's own up to the mount's root may limit, in either version,
 * and so does the node; what has the least left is what will end somebody first. File
 * caches that the kernel can drop (inactive_file) are not counted as used.
 */
#include "spawn/cgroup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void take_least(struct spawn_memory *least, const struct spawn_memory *other)
{
    if (least->limit_bytes == 0 || other->left_bytes < least->left_bytes) {
        *least = *other;
    }
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void look_at_group(const struct cgroup *group, struct spawn_memory *least)
{
    bool is_first = group->version == 1;
    uint64_t limit = cgroup_read(group, is_first ? "memory.limit_in_bytes" : "memory.max");
    uint64_t high = is_first ? UINT64_MAX : cgroup_read(group, "memory.high");
    uint64_t used = cgroup_read(group, is_first ? "memory.usage_in_bytes" : "memory.current");
    limit = MT_MIN(limit, high);
    if (limit == UINT64_MAX || used == UINT64_MAX) {
        return;
    }
    used = minus(used, cgroup_read_key(group, "memory.stat",
                                       is_first ? "total_inactive_file" : "inactive_file"));
    take_least(least, &(struct spawn_memory){.limit_bytes = limit,
                                             .used_bytes = used,
                                             .left_bytes = minus(limit, used),
                                             .is_cgroup = true});
}

static void look_at_groups(const struct spawn_memory_source *source, int version,
                           struct spawn_memory *least)
{
    struct cgroup group;
    cgroup_find(source, version, &group);
    if (!group.mount[0]) {
        return;
    }
    look_at_group(&group, least);
    for (char *end; (end = strrchr(group.path, '/')) != NULL;) {
        *end = '\0';
        look_at_group(&group, least);
    }
}

static void look_at_node(const struct spawn_memory_source *source, struct spawn_memory *least)
{
    char path[CGROUP_PATH_BYTES], line[256];
    uint64_t total = 0, available = 0;
    snprintf(path, sizeof path, "%s/meminfo",
             source && source->proc_root ? source->proc_root : "/proc");
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        (void)sscanf(line, "MemTotal: %" SCNu64, &total);
        (void)sscanf(line, "MemAvailable: %" SCNu64, &available);
    }
    if (file) {
        fclose(file);
    }
    if (total) {
        take_least(least, &(struct spawn_memory){.limit_bytes = total << 10,
                                                 .used_bytes = minus(total, available) << 10,
                                                 .left_bytes = available << 10});
    }
}

int spawn_memory_pressure(const struct spawn_memory_source *source, struct spawn_memory *ret)
{
    struct spawn_memory least = {.limit_bytes = 0};
    look_at_groups(source, 1, &least);
    look_at_groups(source, 2, &least);
    look_at_node(source, &least);
    if (least.limit_bytes == 0) {
        return MANTA_E_NOTFOUND;
    }
    *ret = least;
    return MANTA_OK;
}
