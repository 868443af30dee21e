/*
 * The log of all commands' output: two files, however many commands.
 *
 * PATH.data holds the bytes as they came, PATH.index one record of 64 bytes for each piece.
 * Both are only appended to, the data first, so a record never names bytes that were not
 * written before it; several ranks of a node may append to the same pair. A record carries
 * a checksum: a torn one, wherever it is, is skipped and reading goes on at the next.
 */
#ifndef SPAWN_LOG_H
#define SPAWN_LOG_H

#include "spawn/spawn.h"

struct log_record {
    uint32_t magic, rank;
    uint64_t id, offset, time_ns;
    uint32_t attempt, stream, bytes, unused;
    uint64_t reserved, checksum;
};

_Static_assert(sizeof(struct log_record) == 64, "as it is in files");

struct log_writer {
    int data, index; /* O_APPEND; -1: no log */
    uint32_t rank;
};

/* Makes or opens both files for appending. MANTA_OK or a code with the reason in text. */
int log_writer_open(const char *path, struct log_writer *ret_writer, char *text, size_t text_size);
void log_writer_close(struct log_writer *writer);
/* How many of the bytes are in the log now. */
size_t log_append(const struct log_writer *writer, const struct spawn_log_part *part,
                  const void *bytes);

/* The next whole record at or after *at in an index; false when there is none. Pure. */
bool log_next(const uint8_t *index, size_t size, size_t *at, struct spawn_log_part *ret_part);
void log_record_fill(const struct spawn_log_part *part, struct log_record *ret_record);

#endif
