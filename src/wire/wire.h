/*
 * wire: how a message looks. Pure functions over bytes; no state, no I/O, fuzzed.
 *
 * Every message starts with the same 24-byte header. What a message must always
 * carry but the header does not hold is implied by its channel: protocol version
 * and the sender's rank and incarnation (agreed and authenticated when the
 * channel is opened), sequence (channels are ordered). Membership is a set of
 * deaths, named by rank, so its messages need no order.
 *
 * Bodies are read through a `struct wire_reader`, which never reads past the end:
 * after the first short read it is failed and yields zeros; the caller checks
 * once at the end.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WIRE_VERSION 1

/* The longest body a message may have; longer is a broken peer. 1 MiB of a user's bytes, and room
 * for what goes before them. */
#define WIRE_BODY_MAX ((1u << 20) + 512u)

/*
 * parent and position name the task or ref the message is about (the ref's
 * identity without the owner hint). token is the addressee's own handle for it,
 * given to the sender earlier, 0 when there is none: it saves a table look-up and
 * is checked against parent and position before it is believed.
 */
struct wire_header {
    uint64_t parent;
    uint32_t position;
    uint32_t token;
    uint8_t kind;    /* the room that sends defines them */
    uint8_t attempt; /* saturates at 255 */
    uint16_t ref_count;
    uint32_t length; /* bytes of body that follow */
};

_Static_assert(sizeof(struct wire_header) == 24, "every line of the hot path was laid out for 24");

struct wire_reader {
    const uint8_t *at, *end;
    bool failed;
};

static inline struct wire_reader wire_reader_init(const void *body, size_t length)
{
    const uint8_t *bytes = body;
    return (struct wire_reader){.at = bytes, .end = bytes + length};
}

static inline size_t wire_left(const struct wire_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* The next `size` bytes in place, NULL (and failed) when fewer are left. */
static inline const void *wire_take(struct wire_reader *reader, size_t size)
{
    if (MT_UNLIKELY(reader->failed || size > wire_left(reader))) {
        reader->failed = true;
        return NULL;
    }
    const void *here = reader->at;
    reader->at += size;
    return here;
}

#define WIRE_GET(name, type)                                                                       \
    static inline type wire_get_##name(struct wire_reader *reader)                                 \
    {                                                                                              \
        type value = 0;                                                                            \
        const void *at = wire_take(reader, sizeof value);                                          \
        if (at) {                                                                                  \
            memcpy(&value, at, sizeof value);                                                      \
        }                                                                                          \
        return value;                                                                              \
    }                                                                                              \
    static inline void wire_put_##name(uint8_t **at, type value)                                   \
    {                                                                                              \
        memcpy(*at, &value, sizeof value);                                                         \
        *at += sizeof value;                                                                       \
    }
WIRE_GET(u32, uint32_t)
WIRE_GET(u64, uint64_t)
#undef WIRE_GET

static inline void wire_put_bytes(uint8_t **at, const void *bytes, size_t size)
{
    if (size) {
        memcpy(*at, bytes, size);
        *at += size;
    }
}

#endif
