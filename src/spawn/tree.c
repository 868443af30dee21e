/*
 * A child's processes, read from /proc.
 *
 * /proc/PID/task/TID/children lists what one thread has forked, so a tree costs what it is
 * big, not what the node has running. Reading is a sample: a process that ends meanwhile is
 * left out. Memory is what statm calls resident, so pages that several processes of a tree
 * share count for each of them.
 */
#include "spawn/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROCESSES_MAX = 1024 };

static size_t read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, size - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static size_t add_children(pid_t pid, const char *thread, pid_t *children, size_t max)
{
    char path[96], text[4096], *end;
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, thread);
    read_text(path, text, sizeof text);
    for (char *at = text; count < max; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at) {
            break;
        }
        children[count++] = (pid_t)child;
    }
    return count;
}

size_t tree_children(pid_t pid, pid_t *ret_children, size_t max)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    for (struct dirent *entry; threads && count < max && (entry = readdir(threads));) {
        if (entry->d_name[0] != '.') {
            count += add_children(pid, entry->d_name, ret_children + count, max - count);
        }
    }
    if (threads) {
        closedir(threads);
    }
    return count;
}

static uint64_t resident(pid_t pid)
{
    char path[64], text[128];
    unsigned long total = 0, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    read_text(path, text, sizeof text);
    return sscanf(text, "%lu %lu", &total, &pages) == 2
               ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

uint64_t tree_resident(pid_t pid)
{
    pid_t queue[PROCESSES_MAX] = {pid};
    uint64_t bytes = 0;
    for (size_t at = 0, count = 1; at < count; at++) {
        bytes += resident(queue[at]);
        count += tree_children(queue[at], queue + count, PROCESSES_MAX - count);
    }
    return bytes;
}
