/*
 * How much memory this process may use: the least of everything that limits it.
 *
 * - Control groups, version 1 and 2, which may both be mounted. A limit anywhere
 *   between the process's group and the root of the mount holds, so every ancestor is
 *   read; of version 2 also memory.high, above which the kernel throttles to a crawl.
 *   /proc/self/cgroup names the group, mountinfo where its hierarchy is mounted and
 *   which group is the mount's root: in a container that is often the container's own,
 *   while the name is still the host's. A name that does not lie below the mount's
 *   root is not visible there, and the mount's root is the best that can be read.
 * - MemAvailable: what the machine can give now without swapping.
 * - RLIMIT_AS, from /proc/self/limits, so that a recorded machine has its own.
 *
 * A file that is missing or unreadable limits nothing: outside Linux containers most
 * are. Nothing here fails.
 */
#include "topo/limits.h"

#include "base/compiler.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYSTEM_CGROUP_ROOT "/sys/fs/cgroup"
#define LINE_BYTES 4096
#define PATH_BYTES 1024 /* as the widths of sscanf below; longer paths are not found */

struct hierarchy {
    int version;
    char mount_root[PATH_BYTES];  /* the group that is the mount's root */
    char mount_point[PATH_BYTES]; /* "": not mounted */
    char group[PATH_BYTES];       /* "": the process is in none */
};

static const char *const version1_files[] = {"memory.limit_in_bytes", NULL};
static const char *const version2_files[] = {"memory.max", "memory.high", NULL};

static FILE *open_proc(const struct topo_source *source, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", source->proc_root ? source->proc_root : "/proc", name);
    return fopen(path, "re");
}

/* The number at the start of a file; UINT64_MAX for "max", or if there is none. */
static uint64_t read_number(const char *path)
{
    uint64_t number = UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%" SCNu64, &number) != 1) {
            number = UINT64_MAX;
        }
        fclose(file);
    }
    return number;
}

static uint64_t group_limit(const struct hierarchy *hierarchy, const char *group)
{
    uint64_t least = UINT64_MAX;
    const char *const *files = hierarchy->version == 1 ? version1_files : version2_files;
    for (; *files; files++) {
        char path[2 * PATH_BYTES + 64];
        snprintf(path, sizeof path, "%s%s/%s", hierarchy->mount_point, group, *files);
        least = MT_MIN(least, read_number(path));
    }
    return least;
}

/* The group's name below the mount's root, "" for the root itself or when it is not visible
 * there. */
static const char *visible_group(const struct hierarchy *hierarchy)
{
    size_t length = strlen(hierarchy->mount_root);
    const char *group = hierarchy->group;
    if (strcmp(hierarchy->mount_root, "/") == 0) {
        length = 0;
    }
    if (strncmp(group, hierarchy->mount_root, length) != 0 ||
        (group[length] != '/' && group[length] != '\0') || strstr(group, "/..")) {
        return "";
    }
    return strcmp(group + length, "/") == 0 ? "" : group + length;
}

static uint64_t hierarchy_limit(const struct hierarchy *hierarchy)
{
    if (!hierarchy->mount_point[0] || !hierarchy->group[0]) {
        return UINT64_MAX;
    }
    char group[PATH_BYTES];
    snprintf(group, sizeof group, "%s", visible_group(hierarchy));
    uint64_t least = group_limit(hierarchy, group);
    for (char *end; (end = strrchr(group, '/')) != NULL;) {
        *end = '\0';
        least = MT_MIN(least, group_limit(hierarchy, group));
    }
    return least;
}

/* "4:memory:/group" of version 1, "0::/group" of version 2. */
static void read_groups(const struct topo_source *source, struct hierarchy *version1,
                        struct hierarchy *version2)
{
    char line[LINE_BYTES];
    FILE *file = open_proc(source, "self/cgroup");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = '\0';
        if (controllers[1] == '\0') {
            snprintf(version2->group, sizeof version2->group, "%s", group);
        } else if (strcmp(controllers + 1, "memory") == 0) {
            snprintf(version1->group, sizeof version1->group, "%s", group);
        }
    }
    if (file) {
        fclose(file);
    }
}

static int has_option(const char *options, const char *wanted)
{
    size_t length = strlen(wanted);
    for (; options; options = strchr(options, ',')) {
        options += *options == ',';
        if (strncmp(options, wanted, length) == 0 && strchr(",\n", options[length])) {
            return 1;
        }
    }
    return 0;
}

static void set_mount(const struct topo_source *source, struct hierarchy *hierarchy,
                      const char *root, const char *point)
{
    size_t length = strlen(SYSTEM_CGROUP_ROOT);
    snprintf(hierarchy->mount_root, sizeof hierarchy->mount_root, "%s", root);
    if (source->cgroup_root && strncmp(point, SYSTEM_CGROUP_ROOT, length) == 0) {
        snprintf(hierarchy->mount_point, sizeof hierarchy->mount_point, "%s%s", source->cgroup_root,
                 point + length);
    } else {
        snprintf(hierarchy->mount_point, sizeof hierarchy->mount_point, "%s", point);
    }
}

/* "35 31 0:32 ROOT POINT options [tags] - TYPE device SUPEROPTIONS". */
static void read_mounts(const struct topo_source *source, struct hierarchy *version1,
                        struct hierarchy *version2)
{
    char line[LINE_BYTES], root[PATH_BYTES], point[PATH_BYTES], type[64], options[PATH_BYTES];
    FILE *file = open_proc(source, "self/mountinfo");
    while (file && fgets(line, sizeof line, file)) {
        char *tail = strstr(line, " - ");
        if (!tail || sscanf(line, "%*s %*s %*s %1023s %1023s", root, point) != 2 ||
            sscanf(tail, " - %63s %*s %1023s", type, options) != 2) {
            continue;
        }
        if (strcmp(type, "cgroup2") == 0) {
            set_mount(source, version2, root, point);
        } else if (strcmp(type, "cgroup") == 0 && has_option(options, "memory")) {
            set_mount(source, version1, root, point);
        }
    }
    if (file) {
        fclose(file);
    }
}

static uint64_t cgroup_limit(const struct topo_source *source)
{
    struct hierarchy version1 = {.version = 1}, version2 = {.version = 2};
    read_groups(source, &version1, &version2);
    read_mounts(source, &version1, &version2);
    uint64_t a = hierarchy_limit(&version1), b = hierarchy_limit(&version2);
    return MT_MIN(a, b);
}

/* The number after `key` at the start of a line, times `unit`; UINT64_MAX if there is none. */
static uint64_t read_keyed(const struct topo_source *source, const char *name, const char *key,
                           uint64_t unit)
{
    char line[LINE_BYTES];
    uint64_t number, found = UINT64_MAX;
    FILE *file = open_proc(source, name);
    while (file && fgets(line, sizeof line, file)) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) == 0 && sscanf(line + length, "%" SCNu64, &number) == 1 &&
            __builtin_mul_overflow(number, unit, &found)) {
            found = UINT64_MAX;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

uint64_t topo_limits_read(const struct topo_source *source)
{
    int saved_errno = errno;
    uint64_t least = cgroup_limit(source);
    uint64_t available = read_keyed(source, "meminfo", "MemAvailable:", 1024);
    uint64_t address_space = read_keyed(source, "self/limits", "Max address space", 1);
    least = MT_MIN(least, available);
    errno = saved_errno;
    return MT_MIN(least, address_space);
}
