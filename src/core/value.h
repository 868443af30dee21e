/* Values: see struct value in rank.h. */
#ifndef CORE_VALUE_H
#define CORE_VALUE_H

#include "core/rank.h"

struct value_part {
    const void *data;
    uint32_t bytes;
    bool is_refs;
};

/* Copies the parts. One sharer. NULL when memory is out. The refs inside get no holds: see
 * value_hold_refs. */
struct value *value_create(struct rank *rank, const struct value_part *parts, uint32_t count);
static inline void *value_data(const struct value *value, uint32_t output)
{
    return (char *)(uintptr_t)&value->output[value->outputs] + value->output[output].offset;
}
/* Ends one share; the last frees it. Accepts NULL. Holds of refs inside are not touched. */
void value_unshare(struct rank *rank, struct value *value);

/* Bytes of all outputs as they travel, and their writing and reading. */
size_t value_wire_bytes(const struct value *value);
void value_wire_write(const struct value *value, uint8_t *out);
/* NULL: broken bytes, or memory is out. `from`'s outputs only: count must match. */
struct value *value_wire_read(struct rank *rank, struct wire_reader *reader, uint32_t outputs);

/* Calls each(rank, ref, arg) for every ref inside. */
void value_each_ref(struct rank *rank, const struct value *value,
                    void (*each)(struct rank *rank, manta_ref ref, void *arg), void *arg);

#endif
