/* Writing and reading the log; see log.h. */
#include "spawn/log.h"

#include "base/alloc.h"
#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x4d4c4f47u
enum { PATH_BYTES = 4096 };

/* ---- Records */

static uint64_t sum(const struct log_record *record)
{
    uint64_t words[7], hash = 0;
    memcpy(words, record, sizeof words);
    for (size_t i = 0; i < MT_COUNT(words); i++) {
        hash = base_mix64(hash ^ words[i]) + i;
    }
    return hash;
}

void log_record_fill(const struct spawn_log_part *part, struct log_record *ret_record)
{
    *ret_record = (struct log_record){.magic = MAGIC,
                                      .rank = part->rank,
                                      .id = part->id,
                                      .offset = part->offset,
                                      .time_ns = part->time_ns,
                                      .attempt = part->attempt,
                                      .stream = part->stream,
                                      .bytes = part->bytes};
    ret_record->checksum = sum(ret_record);
}

bool log_next(const uint8_t *index, size_t size, size_t *at, struct spawn_log_part *ret_part)
{
    struct log_record record;
    for (size_t next; *at + sizeof record <= size; *at = next) {
        memcpy(&record, index + *at, sizeof record);
        next = *at + 1;
        if (record.magic == MAGIC && record.checksum == sum(&record)) {
            *ret_part = (struct spawn_log_part){.id = record.id,
                                                .attempt = record.attempt,
                                                .stream = record.stream,
                                                .rank = record.rank,
                                                .bytes = record.bytes,
                                                .offset = record.offset,
                                                .time_ns = record.time_ns};
            *at += sizeof record;
            return true;
        }
    }
    return false;
}

/* Of an index without a whole record: its first is torn or damaged, or there is none yet. */
static bool begins_as_a_log(const uint8_t *index, size_t size)
{
    const uint32_t magic = MAGIC;
    return memcmp(index, &magic, MT_MIN(size, sizeof magic)) == 0;
}

/* ---- Writing */

static int open_file(const char *path, const char *suffix, int flags)
{
    char name[PATH_BYTES];
    if (snprintf(name, sizeof name, "%s.%s", path, suffix) >= (int)sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(name, flags | O_CLOEXEC, 0600);
}

int log_writer_open(const char *path, struct log_writer *ret_writer, char *text, size_t text_size)
{
    *ret_writer = (struct log_writer){.data = -1, .index = -1};
    if (!path) {
        return MANTA_OK;
    }
    ret_writer->data = open_file(path, "data", O_WRONLY | O_APPEND | O_CREAT);
    ret_writer->index = open_file(path, "index", O_WRONLY | O_APPEND | O_CREAT);
    if (ret_writer->data < 0 || ret_writer->index < 0) {
        snprintf(text, text_size,
                 "cannot write the log of commands %.80s.data and .index (%s): name a "
                 "folder that exists and can be written to",
                 path, strerror(errno));
        log_writer_close(ret_writer);
        return MANTA_E_SYSTEM;
    }
    return MANTA_OK;
}

void log_writer_close(struct log_writer *writer)
{
    if (writer->data >= 0) {
        close(writer->data);
    }
    if (writer->index >= 0) {
        close(writer->index);
    }
    writer->data = writer->index = -1;
}

/* After an append the position is the end of what was written, also when others append too. */
size_t log_append(const struct log_writer *writer, const struct spawn_log_part *part,
                  const void *bytes)
{
    ssize_t wrote = write(writer->data, bytes, part->bytes);
    off_t end = wrote > 0 ? lseek(writer->data, 0, SEEK_CUR) : -1;
    if (wrote <= 0 || end < wrote) {
        return 0;
    }
    struct log_record record;
    struct spawn_log_part done = *part;
    done.rank = writer->rank;
    done.bytes = (uint32_t)wrote;
    done.offset = (uint64_t)(end - wrote);
    log_record_fill(&done, &record);
    return write(writer->index, &record, sizeof record) == (ssize_t)sizeof record ? (size_t)wrote
                                                                                  : 0;
}

/* ---- Reading */

struct spawn_log {
    int data;
    struct spawn_log_part *parts;
    size_t count;
};

static int read_file(int file, uint8_t **ret_bytes, size_t *ret_size)
{
    struct stat status;
    if (fstat(file, &status) != 0) {
        return MANTA_E_SYSTEM;
    }
    size_t size = (size_t)status.st_size, done = 0;
    uint8_t *bytes = base_alloc(size + 1);
    while (bytes && done < size) {
        ssize_t got = pread(file, bytes + done, size - done, (off_t)done);
        if (got <= 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_bytes = bytes;
    *ret_size = done;
    return bytes ? MANTA_OK : MANTA_E_NOMEM;
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_streams(const struct spawn_log_part *a, const struct spawn_log_part *b)
{
    int by = order(a->id, b->id);
    by = by ? by : order(a->attempt, b->attempt);
    return by ? by : order(a->stream, b->stream);
}

static int compare_parts(const void *left, const void *right)
{
    const struct spawn_log_part *a = left, *b = right;
    int by = compare_streams(a, b);
    return by ? by : order(a->offset, b->offset);
}

/* Records of bytes that the data file has lost (a node that crashed) are dropped. */
static int take_parts(struct spawn_log *log, const uint8_t *index, size_t size)
{
    struct stat status;
    size_t at = 0, found = 0, most = size / sizeof(struct log_record);
    struct spawn_log_part part;
    if (fstat(log->data, &status) != 0) {
        return MANTA_E_SYSTEM;
    }
    log->parts = base_alloc((most + 1) * sizeof *log->parts);
    if (!log->parts) {
        return MANTA_E_NOMEM;
    }
    for (; found < most && log_next(index, size, &at, &part); found++) {
        if (part.offset + part.bytes >= part.offset &&
            part.offset + part.bytes <= (uint64_t)status.st_size) {
            log->parts[log->count++] = part;
        }
    }
    qsort(log->parts, log->count, sizeof *log->parts, compare_parts);
    return found || begins_as_a_log(index, size) ? MANTA_OK : MANTA_E_TYPE;
}

static int open_log(struct spawn_log *log, const char *path)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    int index = open_file(path, "index", O_RDONLY);
    if (index >= 0) {
        log->data = open_file(path, "data", O_RDONLY);
    }
    if (index < 0 || log->data < 0) {
        int code = errno == ENOENT ? MANTA_E_NOTFOUND : MANTA_E_SYSTEM;
        if (index >= 0) {
            close(index);
        }
        return code;
    }
    int code = read_file(index, &bytes, &size);
    close(index);
    code = code ? code : take_parts(log, bytes, size);
    base_free(bytes);
    return code;
}

int spawn_log_open(const char *path, struct spawn_log **ret_log)
{
    struct spawn_log *log = base_alloc(sizeof *log);
    if (!log) {
        return MANTA_E_NOMEM;
    }
    log->data = -1;
    int code = open_log(log, path);
    if (code != MANTA_OK) {
        spawn_log_close(log);
        return code;
    }
    *ret_log = log;
    return MANTA_OK;
}

void spawn_log_close(struct spawn_log *log)
{
    if (!log) {
        return;
    }
    if (log->data >= 0) {
        close(log->data);
    }
    base_free(log->parts);
    base_free(log);
}

const struct spawn_log_part *spawn_log_parts(const struct spawn_log *log, size_t *ret_count)
{
    *ret_count = log->count;
    return log->parts;
}

/* The first part that is not before the key's stream. O(log n). */
static size_t find_first(const struct spawn_log *log, const struct spawn_log_part *key)
{
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_streams(&log->parts[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_stream(const struct spawn_log *log, size_t at, const struct spawn_log_part *key)
{
    return at < log->count && compare_streams(&log->parts[at], key) == 0;
}

int spawn_log_read(const struct spawn_log *log, const struct spawn_log_part *key, uint64_t offset,
                   void *bytes, size_t size, size_t *ret_size)
{
    size_t at = find_first(log, key), done = 0;
    if (!is_stream(log, at, key)) {
        return MANTA_E_NOTFOUND;
    }
    for (; done < size && is_stream(log, at, key); at++) {
        const struct spawn_log_part *part = &log->parts[at];
        if (offset >= part->bytes) {
            offset -= part->bytes;
            continue;
        }
        size_t want = MT_MIN(size - done, part->bytes - offset);
        ssize_t got = pread(log->data, (char *)bytes + done, want, (off_t)(part->offset + offset));
        if (got != (ssize_t)want) {
            return MANTA_E_SYSTEM;
        }
        done += want;
        offset = 0;
    }
    *ret_size = done;
    return MANTA_OK;
}
