/*
 * Memory control groups, version 1 and 2.
 *
 * /proc/self/cgroup names the group, /proc/self/mountinfo says where its hierarchy is
 * mounted and which group the mount's root is: in a container often the container's own,
 * while the name is still the host's. A name that does not lie below is not visible, and
 * the mount's root is the best that can be had.
 *
 * A child gets a group below its rank's if that can be made, which takes a site that
 * delegates (or root). Version 2 lets only groups without processes give controllers on,
 * so there it works only where somebody has prepared that; else memory is sampled.
 */
#include "spawn/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_ROOT "/sys/fs/cgroup"
enum { FILE_BYTES = 2 * CGROUP_PATH_BYTES + 64 };

/* ---- Finding */

static FILE *open_proc(const struct spawn_memory_source *source, const char *name)
{
    char path[CGROUP_PATH_BYTES];
    const char *root = source && source->proc_root ? source->proc_root : "/proc";
    snprintf(path, sizeof path, "%s/%s", root, name);
    return fopen(path, "re");
}

/* "0::/name" of version 2, "4:cpu,memory:/name" of version 1. */
static bool is_hierarchy(const char *controllers, int version)
{
    size_t length = strcspn(controllers, ":");
    if (version == 2) {
        return length == 0;
    }
    for (const char *at = controllers; at < controllers + length; at += strcspn(at, ",:") + 1) {
        if (strcspn(at, ",:") == 6 && strncmp(at, "memory", 6) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_name(const struct spawn_memory_source *source, int version, char *name)
{
    char line[CGROUP_PATH_BYTES];
    bool is_found = false;
    FILE *file = open_proc(source, "self/cgroup");
    while (file && !is_found && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (path && is_hierarchy(controllers + 1, version)) {
            snprintf(name, CGROUP_PATH_BYTES, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
            is_found = true;
        }
    }
    if (file) {
        fclose(file);
    }
    return is_found;
}

static bool is_mount_of(const char *type, const char *options, int version)
{
    if (version == 2) {
        return strcmp(type, "cgroup2") == 0;
    }
    const char *at = strcmp(type, "cgroup") == 0 ? strstr(options, "memory") : NULL;
    return at && (at == options || at[-1] == ',') && strchr(",\n", at[6]);
}

/* "35 31 0:32 ROOT POINT options [tags] - TYPE device OPTIONS". */
static bool read_mount(const struct spawn_memory_source *source, int version, char *root,
                       char *point)
{
    char line[4096], type[64], options[CGROUP_PATH_BYTES];
    bool is_found = false;
    FILE *file = open_proc(source, "self/mountinfo");
    while (file && !is_found && fgets(line, sizeof line, file)) {
        char *tail = strstr(line, " - ");
        is_found = tail && sscanf(line, "%*s %*s %*s %1023s %1023s", root, point) == 2 &&
                   sscanf(tail, " - %63s %*s %1023s", type, options) == 2 &&
                   is_mount_of(type, options, version);
    }
    if (file) {
        fclose(file);
    }
    return is_found;
}

/* The name below the mount's root; "" for the root, or when it is not visible there. */
static const char *below(const char *root, const char *name)
{
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(name, root, length) != 0 || (name[length] != '/' && name[length] != '\0') ||
        strstr(name, "/..") || strcmp(name + length, "/") == 0) {
        return "";
    }
    return name + length;
}

void cgroup_find(const struct spawn_memory_source *source, int version, struct cgroup *ret_group)
{
    char root[CGROUP_PATH_BYTES], point[CGROUP_PATH_BYTES], name[CGROUP_PATH_BYTES];
    *ret_group = (struct cgroup){.version = version};
    if (!read_name(source, version, name) || !read_mount(source, version, root, point)) {
        return;
    }
    size_t length = strlen(SYSTEM_ROOT);
    bool is_moved = source && source->cgroup_root && strncmp(point, SYSTEM_ROOT, length) == 0;
    int bytes = snprintf(ret_group->mount, sizeof ret_group->mount, "%s%s",
                         is_moved ? source->cgroup_root : "", is_moved ? point + length : point);
    if (bytes >= (int)sizeof ret_group->mount) {
        ret_group->mount[0] = '\0';
    }
    snprintf(ret_group->path, sizeof ret_group->path, "%s", below(root, name));
}

/* ---- Files of a group */

static void name_file(const struct cgroup *group, const char *file, char path[FILE_BYTES])
{
    snprintf(path, FILE_BYTES, "%s%s/%s", group->mount, group->path, file);
}

static bool read_text(const struct cgroup *group, const char *file, char *text, size_t size)
{
    char path[FILE_BYTES];
    name_file(group, file, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

uint64_t cgroup_read(const struct cgroup *group, const char *file)
{
    char text[64];
    uint64_t number = UINT64_MAX;
    if (!read_text(group, file, text, sizeof text) || sscanf(text, "%" SCNu64, &number) != 1) {
        return UINT64_MAX;
    }
    return number;
}

uint64_t cgroup_read_key(const struct cgroup *group, const char *file, const char *key)
{
    char text[4096];
    size_t length = strlen(key);
    if (!read_text(group, file, text, sizeof text)) {
        return 0;
    }
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            return strtoull(line + length, NULL, 10);
        }
    }
    return 0;
}

/* ---- A group for a child */

static bool write_number(const struct cgroup *group, const char *file, uint64_t number)
{
    char path[FILE_BYTES], text[32];
    int length = snprintf(text, sizeof text, "%" PRIu64, number);
    name_file(group, file, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0) {
        close(fd);
    }
    return is_written;
}

static bool limit(const struct cgroup *group, uint64_t bytes)
{
    if (group->version == 1) {
        return write_number(group, "memory.limit_in_bytes", bytes);
    }
    /* Swapping is not what a limit is asked for, and the whole child goes, not one process. */
    (void)write_number(group, "memory.swap.max", 0);
    (void)write_number(group, "memory.oom.group", 1);
    return write_number(group, "memory.max", bytes);
}

bool cgroup_make(const struct cgroup *parent, const char *name, uint64_t limit_bytes,
                 struct cgroup *ret_group, int *ret_procs)
{
    char path[FILE_BYTES];
    *ret_group = *parent;
    if (!parent->mount[0] || snprintf(ret_group->path, sizeof ret_group->path, "%s/%s",
                                      parent->path, name) >= (int)sizeof ret_group->path) {
        return false;
    }
    name_file(ret_group, "", path);
    if (mkdir(path, 0700) != 0) {
        return false;
    }
    name_file(ret_group, "cgroup.procs", path);
    int procs = limit(ret_group, limit_bytes) ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    if (procs < 0) {
        cgroup_remove(ret_group);
        return false;
    }
    *ret_procs = procs;
    return true;
}

bool cgroup_has_killed(const struct cgroup *group)
{
    const char *file = group->version == 1 ? "memory.oom_control" : "memory.events";
    return cgroup_read_key(group, file, "oom_kill") > 0;
}

bool cgroup_remove(const struct cgroup *group)
{
    char path[FILE_BYTES];
    name_file(group, "", path);
    return rmdir(path) == 0 || errno == ENOENT;
}

void cgroup_prefix(pid_t spawner, char ret_prefix[CGROUP_NAME_BYTES])
{
    snprintf(ret_prefix, CGROUP_NAME_BYTES, "manta-%d-", (int)spawner);
}

static void kill_members(const struct cgroup *group)
{
    char text[4096], *end;
    if (!read_text(group, "cgroup.procs", text, sizeof text)) {
        return;
    }
    for (char *at = text;; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at || pid <= 1) {
            return;
        }
        kill((pid_t)pid, SIGKILL);
    }
}

static bool clear_child(const struct cgroup *parent, const char *name)
{
    struct cgroup group = *parent;
    if (snprintf(group.path, sizeof group.path, "%s/%s", parent->path, name) >=
        (int)sizeof group.path) {
        return true;
    }
    kill_members(&group);
    return cgroup_remove(&group);
}

bool cgroup_remove_below(const struct cgroup *parent, const char *prefix)
{
    char path[FILE_BYTES];
    bool is_clear = true;
    name_file(parent, "", path);
    DIR *folder = parent->mount[0] ? opendir(path) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            is_clear &= clear_child(parent, entry->d_name);
        }
    }
    if (folder) {
        closedir(folder);
    }
    return is_clear;
}
