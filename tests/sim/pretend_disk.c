#include "pretend_disk.h"

#include "base/alloc.h"

#include <fcntl.h>
#include <manta/error.h>
#include <unistd.h>

struct pretend_disk {
    struct sim *sim;
    const struct base_host *host;
    struct pretend_disk_options options;
    struct store_disk face;
    uint64_t used_bytes;
    int fd;
};

static void take_time(struct pretend_disk *disk)
{
    disk->host->work(disk->host->self, 1 + sim_draw(disk->sim, disk->options.delay_max_ns));
}

static int write_parts(void *self, uint64_t offset, const struct iovec *parts, int count)
{
    struct pretend_disk *disk = self;
    uint64_t bytes = 0;
    take_time(disk);
    for (int i = 0; i < count; i++) {
        bytes += parts[i].iov_len;
    }
    if (disk->options.room_bytes && disk->used_bytes + bytes > disk->options.room_bytes) {
        return MANTA_E_LIMIT;
    }
    if (sim_draw(disk->sim, 100) < disk->options.fail_percent) {
        return MANTA_E_SYSTEM;
    }
    disk->used_bytes += bytes;
    return pwritev(disk->fd, parts, count, (off_t)offset) == (ssize_t)bytes ? MANTA_OK
                                                                            : MANTA_E_SYSTEM;
}

static int read_bytes(void *self, uint64_t offset, void *data, uint64_t bytes)
{
    struct pretend_disk *disk = self;
    take_time(disk);
    if (pread(disk->fd, data, bytes, (off_t)offset) != (ssize_t)bytes) {
        return MANTA_E_SYSTEM;
    }
    if (sim_draw(disk->sim, 100) < disk->options.damage_percent) {
        ((uint8_t *)data)[sim_draw(disk->sim, bytes)] ^= 1;
    }
    return MANTA_OK;
}

static void discard(void *self, uint64_t offset, uint64_t bytes)
{
    struct pretend_disk *disk = self;
    disk->used_bytes -= bytes < disk->used_bytes ? bytes : disk->used_bytes;
    (void)!fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)bytes);
}

struct pretend_disk *pretend_disk_create(struct sim *sim, uint32_t rank, int fd,
                                         const struct pretend_disk_options *options)
{
    struct pretend_disk *disk = base_alloc(sizeof *disk);
    if (disk) {
        disk->sim = sim;
        disk->host = sim_host(sim, rank);
        disk->options = *options;
        disk->fd = dup(fd);
        disk->face = (struct store_disk){write_parts, read_bytes, discard, disk};
    }
    return disk;
}

void pretend_disk_destroy(struct pretend_disk *disk)
{
    if (disk) {
        close(disk->fd);
        base_free(disk);
    }
}

const struct store_disk *pretend_disk_face(const struct pretend_disk *disk)
{
    return &disk->face;
}
