/* Values: see struct value in rank.h. */
#ifndef CORE_VALUE_H
#define CORE_VALUE_H

#include "core/stored.h"

/* Values of one output of up to 96 bytes: their records are used again. */
#define VALUE_SPARE_BYTES 192

struct value_part {
    const void *data;
    uint64_t bytes;
    bool is_refs;
    bool is_typed;  /* its layout is in the bytes: see layout.h */
    bool is_stored; /* data is an open block of the store: it is sealed */
    /* Of one that is somewhere already; data is not looked at. With is_stored, a block that is this
     * rank's, and this value's from now on. */
    const struct location *place;
};

/* Copies the parts, but those in the store. One sharer. NULL when memory is out. The refs inside
 * get no holds: see value_hold_refs. `id` names the first output, for its block. */
struct value *value_create(struct rank *rank, const struct value_part *parts, uint32_t count,
                           manta_ref id);
static inline struct content value_content(const struct value *value, uint32_t output)
{
    const struct output *of = &value->output[output];
    return (struct content){of->data, of->bytes, of->is_refs, of->is_typed,
                            of->is_stored ? &of->place : NULL};
}
void value_free(struct rank *rank, struct value *value);
/* Ends one share; the last frees it. Accepts NULL. Holds of refs inside are not touched. */
static inline void value_unshare(struct rank *rank, struct value *value)
{
    if (value && --value->sharers == 0) {
        value_free(rank, value);
    }
}

/* Bytes of all outputs as they travel, and their writing and reading: each is {u32 bytes, u32
 * flags}, then the bytes or its place. */
size_t value_wire_bytes(const struct value *value);
void value_wire_write(const struct value *value, uint8_t *out);
size_t content_wire_bytes(const struct content *content);
void content_wire_write(const struct content *content, uint8_t **out);
/* NULL: broken bytes, or memory is out. `from`'s outputs only: count must match. */
struct value *value_wire_read(struct rank *rank, struct wire_reader *reader, uint32_t outputs);

/* Calls each(rank, ref, arg) for every ref inside. */
void value_each_ref(struct rank *rank, const struct value *value,
                    void (*each)(struct rank *rank, manta_ref ref, void *arg), void *arg);

#endif
