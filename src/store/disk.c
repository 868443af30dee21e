#include "store/disk.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <manta/error.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

struct disk {
    struct disk_files files;
    struct store_disk face;
};

/* ---- Choosing ------------------------------------------------------------------------------- */

static const struct kind {
    uint32_t magic;
    const char *name;
} memories[] = {{0x01021994, "tmpfs"}, {0x858458f6, "ramfs"}, {0x958458f6, "hugetlbfs"}},
  networks[] = {{0x00006969, "NFS"},    {0x0bd00bd0, "Lustre"}, {0x47504653, "GPFS"},
                {0x19830326, "BeeGFS"}, {0x00c36400, "Ceph"},   {0xff534d42, "CIFS"},
                {0xfe534d42, "SMB"},    {0xaad7aaea, "PanFS"},  {0x5346414f, "AFS"},
                {0x6b414653, "AFS"},    {0x01021997, "9p"},     {0x20030528, "OrangeFS"},
                {0x7461636f, "OCFS2"},  {0x01161970, "GFS2"},   {0x65735546, "FUSE"}};

static const char *find_kind(const struct kind *kinds, size_t count, uint32_t magic)
{
    for (size_t i = 0; i < count; i++) {
        if (kinds[i].magic == magic) {
            return kinds[i].name;
        }
    }
    return NULL;
}

int disk_check(const char *directory, char *text, size_t text_size)
{
    struct stat status;
    struct statfs system;
    if (stat(directory, &status) != 0 || statfs(directory, &system) != 0) {
        snprintf(text, text_size, "%s: %s", directory, strerror(errno));
        return MANTA_E_NOTFOUND;
    }
    if (!S_ISDIR(status.st_mode)) {
        snprintf(text, text_size, "%s is not a directory", directory);
        return MANTA_E_NOTFOUND;
    }
    if (access(directory, W_OK | X_OK) != 0) {
        snprintf(text, text_size, "%s cannot be written to: %s", directory, strerror(errno));
        return MANTA_E_INVALID;
    }
    const char *memory = find_kind(memories, MT_COUNT(memories), (uint32_t)system.f_type);
    const char *network = find_kind(networks, MT_COUNT(networks), (uint32_t)system.f_type);
    if (memory || network) {
        snprintf(text, text_size, "%s is %s: %s", directory, memory ? memory : network,
                 memory ? "memory, and no disk" : "over a network, and not this node's");
        return MANTA_E_STATE;
    }
    return MANTA_OK;
}

/* Without a name from the beginning, or, where the file system knows no such files, soon. */
static int make_file(const char *directory, off_t bytes)
{
    char path[PATH_MAX];
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)) {
        snprintf(path, sizeof path, "%s/manta-spill-XXXXXX", directory);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            (void)unlink(path);
        }
    }
    if (fd >= 0 && ftruncate(fd, bytes) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

int disk_make_files(const char *directory, uint64_t bytes, struct disk_files *ret_files, char *text,
                    size_t text_size)
{
    struct disk_files files = {0};
    for (uint64_t at = 0; at < bytes && files.count < DISK_FILES_MAX; at += DISK_FILE_BYTES) {
        int fd = make_file(directory, (off_t)MT_MIN(bytes - at, DISK_FILE_BYTES));
        if (fd < 0) {
            snprintf(text, text_size, "cannot make a file of up to %llu bytes in %s: %s",
                     (unsigned long long)MT_MIN(bytes - at, DISK_FILE_BYTES), directory,
                     strerror(errno));
            disk_close_files(&files);
            return MANTA_E_SYSTEM;
        }
        files.fds[files.count++] = fd;
    }
    *ret_files = files;
    return MANTA_OK;
}

void disk_close_files(struct disk_files *files)
{
    while (files->count) {
        close(files->fds[--files->count]);
    }
}

/* ---- Reading and writing -------------------------------------------------------------------- */

/* Where an offset is, and how much may follow it there. */
static int find_file(const struct disk *disk, uint64_t offset, off_t *ret_at, uint64_t *ret_left)
{
    uint64_t file = offset / DISK_FILE_BYTES;
    *ret_at = (off_t)(offset % DISK_FILE_BYTES);
    *ret_left = DISK_FILE_BYTES - offset % DISK_FILE_BYTES;
    return file < (uint64_t)disk->files.count ? disk->files.fds[file] : -1;
}

static int write_code(int error)
{
    bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    return is_full ? MANTA_E_LIMIT : MANTA_E_SYSTEM;
}

static int write_bytes(const struct disk *disk, uint64_t offset, const uint8_t *data, size_t bytes)
{
    while (bytes) {
        off_t at;
        uint64_t left;
        int fd = find_file(disk, offset, &at, &left);
        ssize_t done = pwrite(fd, data, MT_MIN((uint64_t)bytes, left), at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return write_code(done < 0 ? errno : ENOSPC);
        }
        data += done;
        offset += (uint64_t)done;
        bytes -= (size_t)done;
    }
    return MANTA_OK;
}

/* In one call where that does it; else part after part. */
static int write_parts(void *self, uint64_t offset, const struct iovec *parts, int count)
{
    struct disk *disk = self;
    uint64_t left, total = 0;
    off_t at;
    int code = MANTA_OK, fd = find_file(disk, offset, &at, &left);
    for (int i = 0; i < count; i++) {
        total += parts[i].iov_len;
    }
    if (total <= left && pwritev(fd, parts, count, at) == (ssize_t)total) {
        return MANTA_OK;
    }
    for (int i = 0; code == MANTA_OK && i < count; i++) {
        code = write_bytes(disk, offset, parts[i].iov_base, parts[i].iov_len);
        offset += parts[i].iov_len;
    }
    return code;
}

static int read_bytes(void *self, uint64_t offset, void *data, uint64_t bytes)
{
    uint8_t *to = data;
    while (bytes) {
        off_t at;
        uint64_t left;
        int fd = find_file(self, offset, &at, &left);
        ssize_t done = pread(fd, to, MT_MIN(bytes, left), at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return MANTA_E_SYSTEM;
        }
        to += done;
        offset += (uint64_t)done;
        bytes -= (uint64_t)done;
    }
    return MANTA_OK;
}

/* A file system that cannot make holes keeps what was there: it costs room, and no more. */
static void discard(void *self, uint64_t offset, uint64_t bytes)
{
    while (bytes) {
        off_t at;
        uint64_t left;
        int fd = find_file(self, offset, &at, &left);
        uint64_t part = MT_MIN(bytes, left);
        (void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)part);
        offset += part;
        bytes -= part;
    }
}

int disk_open(const struct disk_files *files, struct disk **ret_disk)
{
    struct disk *disk = base_alloc(sizeof *disk);
    if (!disk) {
        return MANTA_E_NOMEM;
    }
    disk->files = *files;
    disk->face = (struct store_disk){write_parts, read_bytes, discard, disk};
    *ret_disk = disk;
    return MANTA_OK;
}

void disk_close(struct disk *disk)
{
    if (disk) {
        disk_close_files(&disk->files);
        base_free(disk);
    }
}

const struct store_disk *disk_face(const struct disk *disk)
{
    return &disk->face;
}
