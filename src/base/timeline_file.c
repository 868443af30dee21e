/* Reading a timeline's file: block by block, past what is damaged. */
#include "base/timeline_file.h"

#include "base/alloc.h"
#include "base/map.h"

#include <manta/error.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct base_timeline_reader {
    int fd;
    uint64_t at, size, skipped;
    struct base_timeline_head head;
    uint8_t *body; /* of the latest block */
};

uint64_t timeline_digest(const struct timeline_block_head *head, const void *body)
{
    uint64_t hash = base_mix64((uint64_t)head->what << 32 | head->track) ^ head->bytes;
    hash = base_mix64(hash ^ head->ticks);
    hash = base_mix64(hash ^ head->now_ns);
    for (uint32_t at = 0; at < head->bytes; at += sizeof hash) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)body + at, sizeof word);
        hash = (hash ^ word) * 0xd6e8feb86659fd93u;
        hash ^= hash >> 29;
    }
    return hash;
}

static bool is_sound(const struct base_timeline_reader *reader,
                     const struct timeline_block_head *head)
{
    uint64_t left = reader->size - reader->at - sizeof *head;
    bool is_part = head->what == BASE_TIMELINE_PART;
    return head->magic == TIMELINE_MAGIC && head->what >= BASE_TIMELINE_HEAD &&
           head->what <= BASE_TIMELINE_LAST && head->bytes <= TIMELINE_BLOCK_BYTES_MAX &&
           head->bytes % 8 == 0 && head->bytes <= left &&
           (!is_part || (head->bytes % sizeof(struct base_timeline_record) == 0 &&
                         head->track < reader->head.tracks));
}

static bool read_at(const struct base_timeline_reader *reader, void *out, size_t bytes, uint64_t at)
{
    return pread(reader->fd, out, bytes, (off_t)at) == (ssize_t)bytes;
}

/* The block that begins here, its body read. */
static bool read_block(struct base_timeline_reader *reader, struct timeline_block_head *ret_head)
{
    return read_at(reader, ret_head, sizeof *ret_head, reader->at) && is_sound(reader, ret_head) &&
           read_at(reader, reader->body, ret_head->bytes, reader->at + sizeof *ret_head) &&
           ret_head->digest == timeline_digest(ret_head, reader->body);
}

static void describe(const struct base_timeline_reader *reader,
                     const struct timeline_block_head *head, struct base_timeline_block *ret_block)
{
    *ret_block = (struct base_timeline_block){
        .what = head->what, .track = head->track, .ticks = head->ticks, .now_ns = head->now_ns};
    if (head->what == BASE_TIMELINE_PART) {
        ret_block->records = (const struct base_timeline_record *)reader->body;
        ret_block->count = head->bytes / (uint32_t)sizeof *ret_block->records;
    } else {
        ret_block->bytes = reader->body;
        ret_block->size = head->bytes;
    }
}

bool base_timeline_next(struct base_timeline_reader *reader, struct base_timeline_block *ret_block)
{
    struct timeline_block_head head;
    while (reader->at + sizeof head <= reader->size) {
        if (read_block(reader, &head)) {
            reader->at += sizeof head + head.bytes;
            describe(reader, &head, ret_block);
            return true;
        }
        reader->at += 8;
        reader->skipped += 8;
    }
    reader->skipped += reader->size - reader->at;
    reader->at = reader->size;
    return false;
}

void base_timeline_rewind(struct base_timeline_reader *reader)
{
    reader->at = reader->skipped = 0;
}

static int read_head(struct base_timeline_reader *reader)
{
    struct timeline_block_head block;
    struct base_timeline_head head;
    if (!read_block(reader, &block) || block.what != BASE_TIMELINE_HEAD ||
        block.bytes != sizeof head) {
        return MANTA_E_TYPE;
    }
    memcpy(&head, reader->body, sizeof head);
    if (head.version != TIMELINE_VERSION || head.tracks == 0 || head.rank >= head.size) {
        return MANTA_E_TYPE;
    }
    head.host[sizeof head.host - 1] = 0;
    reader->head = head;
    return MANTA_OK;
}

int base_timeline_open(const char *path, struct base_timeline_reader **ret_reader)
{
    struct stat file;
    struct base_timeline_reader *reader = base_alloc(sizeof *reader);
    uint8_t *body = base_alloc_aligned(16, TIMELINE_BLOCK_BYTES_MAX);
    if (!reader || !body) {
        base_free(reader);
        base_free(body);
        return MANTA_E_NOMEM;
    }
    reader->body = body;
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be no file */
    int code = reader->fd < 0 || fstat(reader->fd, &file) ? MANTA_E_NOTFOUND : MANTA_OK;
    if (code == MANTA_OK) {
        reader->size = (uint64_t)file.st_size;
        code = !S_ISREG(file.st_mode) || reader->size < sizeof(struct timeline_block_head)
                   ? MANTA_E_TYPE
                   : read_head(reader);
    }
    if (code != MANTA_OK) {
        base_timeline_close(reader);
        return code;
    }
    *ret_reader = reader;
    return MANTA_OK;
}

void base_timeline_close(struct base_timeline_reader *reader)
{
    if (!reader) {
        return;
    }
    if (reader->fd >= 0) {
        close(reader->fd);
    }
    base_free(reader->body);
    base_free(reader);
}

const struct base_timeline_head *base_timeline_get_head(const struct base_timeline_reader *reader)
{
    return &reader->head;
}

uint64_t base_timeline_skipped(const struct base_timeline_reader *reader)
{
    return reader->skipped;
}

bool base_timeline_next_name(const struct base_timeline_block *block, uint32_t *at,
                             struct base_timeline_name *ret_name)
{
    struct timeline_name_head head;
    if (block->what != BASE_TIMELINE_NAMES || *at + sizeof head > block->size) {
        return false;
    }
    memcpy(&head, block->bytes + *at, sizeof head);
    if (head.length > block->size - *at - sizeof head) {
        return false;
    }
    *ret_name = (struct base_timeline_name){.of = head.of,
                                            .key = head.key,
                                            .name = (const char *)block->bytes + *at + sizeof head,
                                            .length = head.length};
    *at += (uint32_t)MT_ALIGN_UP(sizeof head + head.length, (size_t)8);
    return true;
}
