#include "launch/memory.h"

#include "comm/backends.h"

#include <manta/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int choose_bound(const struct settings *settings, const struct topo *topo,
                        uint64_t *ret_bound, char *text, size_t text_size)
{
    uint64_t limit = topo_memory_limit_bytes(topo);
    if (settings->store_bytes > limit) {
        snprintf(
            text, text_size,
            "MANTA_STORE asks for %llu bytes, but this process may use at most %llu (the least "
            "of the machine's memory, its control groups and ulimit -v)",
            (unsigned long long)settings->store_bytes, (unsigned long long)limit);
        return MANTA_E_LIMIT;
    }
    *ret_bound = settings->store_bytes ? settings->store_bytes : limit / 10 * 3;
    return MANTA_OK;
}

/* ---- The disk ------------------------------------------------------------------------------- */

/* The first local disk of those that are usual. NULL: there is none, for the reason in text. */
static const char *find_directory(char *text, size_t text_size)
{
    const char *const usual[] = {getenv("SLURM_TMPDIR"), getenv("TMPDIR"), "/tmp", "/var/tmp"};
    for (size_t i = 0; i < MT_COUNT(usual); i++) {
        if (usual[i] && usual[i][0] && disk_check(usual[i], text, text_size) == MANTA_OK) {
            return usual[i];
        }
    }
    return NULL;
}

static int open_named(const char *directory, uint64_t bytes, const struct base_log *log,
                      struct disk_files *ret_files, char *text, size_t text_size)
{
    char reason[MANTA_ERROR_TEXT_MAX];
    int code = disk_check(directory, reason, sizeof reason);
    if (code == MANTA_E_STATE) {
        base_log(log, BASE_LOG_WARN, "values are spilled to what MANTA_SPILL names, but %s",
                 reason);
    } else if (code != MANTA_OK) {
        snprintf(text, text_size,
                 "MANTA_SPILL: %s. It names a directory on a disk of this node, or is off", reason);
        return code;
    }
    code = disk_make_files(directory, bytes, ret_files, reason, sizeof reason);
    if (code != MANTA_OK) {
        snprintf(text, text_size, "MANTA_SPILL: %s", reason);
    }
    return code;
}

/* What nobody has asked for is no reason to fail. */
static void open_usual(uint64_t bytes, const struct base_log *log, struct disk_files *ret_files)
{
    char reason[MANTA_ERROR_TEXT_MAX];
    const char *directory = find_directory(reason, sizeof reason);
    if (!directory ||
        disk_make_files(directory, bytes, ret_files, reason, sizeof reason) != MANTA_OK) {
        base_log(log, BASE_LOG_INFO,
                 "no values are spilled: %s; MANTA_SPILL can name a directory on a local disk",
                 reason);
    }
}

static int open_files(uint64_t bytes, const struct base_log *log, struct disk_files *ret_files,
                      char *text, size_t text_size)
{
    const char *directory = getenv("MANTA_SPILL");
    if (directory && strcmp(directory, "off") == 0) {
        return MANTA_OK;
    }
    if (directory && directory[0]) {
        return open_named(directory, bytes, log, ret_files, text, text_size);
    }
    open_usual(bytes, log, ret_files);
    return MANTA_OK;
}

/* ---- The memory ----------------------------------------------------------------------------- */

static int create_segment(uint32_t node_ranks, uint64_t bound, int *ret_fd, char *text,
                          size_t text_size)
{
    int fd;
    if (comm_shm_segment_create(node_ranks, store_bytes(node_ranks, bound), &fd) != MANTA_OK) {
        snprintf(text, text_size, "cannot make the shared segment (memfd_create): check ulimit -f");
        return MANTA_E_SYSTEM;
    }
    if (store_format(fd, comm_shm_segment_bytes(node_ranks), node_ranks, bound) != MANTA_OK) {
        snprintf(text, text_size, "cannot write to the shared segment");
        close(fd);
        return MANTA_E_SYSTEM;
    }
    *ret_fd = fd;
    return MANTA_OK;
}

int memory_create(const struct settings *settings, const struct topo *topo, uint32_t node_ranks,
                  const struct base_log *log, struct handover_fds *ret_fds, char *text,
                  size_t text_size)
{
    uint64_t bound;
    int segment, code = choose_bound(settings, topo, &bound, text, text_size);
    struct disk_files files = {0};
    if (code == MANTA_OK) {
        code = open_files(store_bytes(node_ranks, bound), log, &files, text, text_size);
    }
    if (code == MANTA_OK) {
        code = create_segment(node_ranks, bound, &segment, text, text_size);
    }
    if (code != MANTA_OK) {
        disk_close_files(&files);
        return code;
    }
    *ret_fds = (struct handover_fds){1 + files.count, {segment}};
    memcpy(&ret_fds->fds[1], files.fds, (size_t)files.count * sizeof files.fds[0]);
    return MANTA_OK;
}

int memory_open_store(struct handover_fds *fds, uint32_t index, uint32_t node_ranks,
                      struct disk **ret_disk, struct store **ret_store, char *text,
                      size_t text_size)
{
    struct store_options options = {fds->fds[0], comm_shm_segment_bytes(node_ranks), index,
                                    node_ranks, NULL};
    struct disk_files files = {.count = fds->count - 1};
    struct disk *disk = NULL;
    memcpy(files.fds, &fds->fds[1], (size_t)files.count * sizeof files.fds[0]);
    int code = files.count ? disk_open(&files, &disk) : MANTA_OK;
    if (code == MANTA_OK) {
        fds->count = 1;
        options.disk = disk ? disk_face(disk) : NULL;
        code = store_open(&options, ret_store);
    }
    if (code != MANTA_OK) {
        snprintf(text, text_size, "cannot map the node's store: check ulimit -v");
        disk_close(disk);
        return code;
    }
    *ret_disk = disk;
    return MANTA_OK;
}
