/* The memory control groups of this process, and one for a child; see cgroup.c. */
#ifndef SPAWN_CGROUP_H
#define SPAWN_CGROUP_H

#include "spawn/spawn.h"

#define CGROUP_PATH_BYTES 1024

struct cgroup {
    int version;                   /* 1 or 2 */
    char mount[CGROUP_PATH_BYTES]; /* "": none */
    char path[CGROUP_PATH_BYTES];  /* below the mount; "" for its root */
};

/* The group of a version that counts this process's memory; mount "" when there is none. */
void cgroup_find(const struct spawn_memory_source *source, int version, struct cgroup *ret_group);
/* The number at the start of a file of a group; UINT64_MAX for "max" or when there is none. */
uint64_t cgroup_read(const struct cgroup *group, const char *file);
/* The number after `key` in a file of a group; 0 when there is none. */
uint64_t cgroup_read_key(const struct cgroup *group, const char *file, const char *key);

/* A group of its own for one child, with the limit; *ret_procs is what the child enters it by.
 * False: not here, not allowed. */
bool cgroup_make(const struct cgroup *parent, const char *name, uint64_t limit_bytes,
                 struct cgroup *ret_group, int *ret_procs);
/* The kernel has killed something in it for want of memory. */
bool cgroup_has_killed(const struct cgroup *group);
/* False while processes are in it. */
bool cgroup_remove(const struct cgroup *group);

/* How the groups of one spawner's children begin. */
#define CGROUP_NAME_BYTES 32
void cgroup_prefix(pid_t spawner, char ret_prefix[CGROUP_NAME_BYTES]);
/* Kills what is in the groups directly below whose names begin so, and removes those that are
 * empty. False while there are others. */
bool cgroup_remove_below(const struct cgroup *parent, const char *prefix);

#endif
