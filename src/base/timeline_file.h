/* Blocks of a timeline's file, for its writer and its reader. */
#ifndef BASE_TIMELINE_FILE_H
#define BASE_TIMELINE_FILE_H

#include "base/timeline.h"

#define TIMELINE_MAGIC 0x4d544c42u
#define TIMELINE_VERSION 1
#define TIMELINE_BLOCK_BYTES_MAX (1u << 20)

struct timeline_block_head {
    uint32_t magic, what;
    uint32_t track;
    uint32_t bytes; /* that follow; a multiple of 8 */
    uint64_t ticks, now_ns;
    uint64_t digest; /* of all else */
};

/* As one lies in the file: this, then the characters, to a multiple of 8 in all. */
struct timeline_name_head {
    uint32_t of, key, length;
};

/* Of the head, its digest left out, and the body. */
uint64_t timeline_digest(const struct timeline_block_head *head, const void *body);

#endif
