/*
 * The messages between a rank and its spawner: pure functions over bytes, fuzzed.
 *
 * A request is a fixed head and then its parts, in the order of the head's lengths; a text
 * ends in NUL, a list of texts is one after the other. The decoder checks each length
 * against what is there, each NUL, each kind, and that nothing is left over; what it yields
 * points into the bytes. Both ends are the same program on the same machine, so there are
 * no byte orders and no versions beyond the magic number.
 */
#ifndef SPAWN_MESSAGE_H
#define SPAWN_MESSAGE_H

#include "spawn/spawn.h"

#include <sys/uio.h>

#define MESSAGE_TOKEN_BYTES 32

enum request_kind { REQUEST_COMMAND = 1, REQUEST_ISOLATED, REQUEST_KILL };
enum request_part {
    PART_ARGV,
    PART_ENVIRONMENT,
    PART_DIRECTORY,
    PART_INPUT_PATH,
    PART_OUT_PATH,
    PART_ERR_PATH,
    PART_RLIMITS,
    PART_CPUS,
    PART_BYTES, /* standard input, or an isolated function's argument */
    PARTS,
};

/* As it travels. */
struct request_head {
    uint32_t magic;
    uint8_t kind, out_to, err_to, environment_kind;
    uint64_t token, id;
    uint64_t wall_ns, memory_bytes, grace_ns, output_bytes;
    uint32_t tail_bytes, attempt;
    uint64_t part_bytes[PARTS];
};

/* Lists of texts are borrowed from the message, as blocks of `count` strings. */
struct text_list {
    const char *texts;
    uint32_t count;
    uint64_t bytes;
};

struct request {
    struct request_head head;
    struct text_list argv, environment;
    const char *directory, *input_path, *out_path, *err_path; /* NULL: none */
    const uint8_t *rlimits;                                   /* struct spawn_rlimit, unaligned */
    uint32_t rlimit_count;
    const void *cpus, *bytes;
    uint32_t cpu_bytes;
    size_t byte_count;
};

enum { MESSAGE_PIECES = PARTS + 1 };

/* MANTA_OK, or MANTA_E_INVALID. What is in *ret_request then is not to be used. */
int request_decode(const void *bytes, size_t size, struct request *ret_request) MT_CHECKED;
/* The token if the bytes are long enough to have one, 0 otherwise. */
uint64_t request_token(const void *bytes, size_t size);

/* Lists packed into one owned block (base_free) of *ret_bytes; NULL and 0 for none. MANTA_OK,
 * MANTA_E_NOMEM. */
int texts_pack(const char *const *texts, char **ret_block, uint64_t *ret_bytes) MT_CHECKED;

enum reply_kind { REPLY_READY = 1, REPLY_STARTED, REPLY_ENDED };

struct reply_head {
    uint32_t magic, kind;
    uint64_t token;
    int32_t pid, end, exit_code, signal, code, returned;
    uint64_t wall_ns, user_ns, system_ns, max_rss_bytes;
    uint64_t out_bytes, err_bytes, lost_bytes, reply_bytes;
    uint32_t out_tail_bytes, err_tail_bytes, text_bytes, has_returned;
};

#define REPLY_BYTES_MAX (sizeof(struct reply_head) + 2 * SPAWN_TAIL_MAX + MANTA_ERROR_TEXT_MAX)

#define MESSAGE_MAGIC 0x4d535031u

/* The head, and *ret_result pointing into the bytes; reply and its size stay with the caller.
 * MANTA_OK, or MANTA_E_INVALID. */
int reply_decode(const void *bytes, size_t size, struct reply_head *ret_head,
                 struct spawn_result *ret_result) MT_CHECKED;

/* The first message to a spawner, with the log's two descriptors if there is a log. */
struct hello {
    uint32_t magic, rank;
    uint8_t token[MESSAGE_TOKEN_BYTES];
    uint32_t cpu_bytes, has_log, memory_kind, unused;
    uint8_t cpus[SPAWN_CPU_BYTES_MAX];
};

#endif
