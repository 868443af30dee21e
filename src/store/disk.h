/*
 * Where blocks go that do not fit into memory: files without a name on a local disk.
 *
 * They are made once for a node, before its store is used, and handed to all its ranks as the
 * memfd is. So they are gone with their last user, whatever its end, and an heir can read what
 * a dead rank has written. They are sparse and have the offsets of the store, so there is no
 * table of what is where; there are several because a file of ext4 ends at 16 TiB.
 *
 * A disk is an interface, because tests have slow and failing ones.
 */
#ifndef STORE_DISK_H
#define STORE_DISK_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STORE_PIECE_GAP 64u
#define STORE_PIECE_PARTS 128

/* Offsets are those of the store. From any thread. */
struct store_disk {
    /* MANTA_OK, MANTA_E_LIMIT: there is no more room, MANTA_E_SYSTEM. */
    int (*write)(void *self, uint64_t offset, const struct iovec *parts, int count);
    /* MANTA_OK; MANTA_E_SYSTEM, also when less is there. */
    int (*read)(void *self, uint64_t offset, void *data, uint64_t bytes);
    /* What is there is not needed any more. */
    void (*discard)(void *self, uint64_t offset, uint64_t bytes);
    void *self;
};

/* Each for so many bytes of offsets. */
#define DISK_FILE_BYTES (UINT64_C(1) << 43)
#define DISK_FILES_MAX 16

struct disk_files {
    int count;
    int fds[DISK_FILES_MAX];
};

/*
 * Whether values may be spilled to a directory. MANTA_OK; MANTA_E_NOTFOUND: it is none;
 * MANTA_E_INVALID: it cannot be written to; MANTA_E_STATE: it is memory, or on a network. On
 * failure the reason is in text.
 */
int disk_check(const char *directory, char *text, size_t text_size) MT_CHECKED;
/* Files for a store of so many bytes, on no name. On failure the reason is in text. */
int disk_make_files(const char *directory, uint64_t bytes, struct disk_files *ret_files, char *text,
                    size_t text_size) MT_CHECKED;
void disk_close_files(struct disk_files *files);

struct disk;
/* Takes the files over. */
int disk_open(const struct disk_files *files, struct disk **ret_disk) MT_CHECKED;
void disk_close(struct disk *disk); /* accepts NULL */
const struct store_disk *disk_face(const struct disk *disk);

#endif
