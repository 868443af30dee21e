#include "core/value.h"

static size_t head_bytes(uint32_t outputs)
{
    return sizeof(struct value) + outputs * sizeof(struct output);
}

/* Data starts at the next multiple of 16 behind the table, so offsets begin there. */
static uint32_t first_offset(uint32_t outputs)
{
    size_t head = head_bytes(outputs);
    return (uint32_t)(MT_ALIGN_UP(head, (size_t)16) - head);
}

struct value *value_create(struct rank *rank, const struct value_part *parts, uint32_t count)
{
    size_t total = first_offset(count);
    for (uint32_t i = 0; i < count; i++) {
        total = MT_ALIGN_UP(total, (size_t)16) + parts[i].bytes + 16;
    }
    struct value *value =
        base_alloc_aligned(16, MT_ALIGN_UP(head_bytes(count) + total, (size_t)16));
    if (!value) {
        return NULL;
    }
    value->sharers = 1;
    value->outputs = (uint16_t)count;
    uint32_t at = first_offset(count);
    size_t head = head_bytes(count);
    for (uint32_t i = 0; i < count; i++) {
        value->output[i] = (struct output){at, parts[i].bytes, parts[i].is_refs};
        value->ref_outputs += parts[i].is_refs;
        if (parts[i].bytes) {
            memcpy(value_data(value, i), parts[i].data, parts[i].bytes);
        }
        at = (uint32_t)(MT_ALIGN_UP(head + at + parts[i].bytes, (size_t)16) - head);
    }
    rank->values_live++;
    return value;
}

void value_unshare(struct rank *rank, struct value *value)
{
    if (value && --value->sharers == 0) {
        rank->values_live--;
        base_free(value);
    }
}

size_t value_wire_bytes(const struct value *value)
{
    size_t total = 0;
    for (uint32_t i = 0; i < value->outputs; i++) {
        total += 8 + value->output[i].bytes;
    }
    return total;
}

void value_wire_write(const struct value *value, uint8_t *out)
{
    for (uint32_t i = 0; i < value->outputs; i++) {
        wire_put_u32(&out, value->output[i].bytes);
        wire_put_u32(&out, value->output[i].is_refs);
        wire_put_bytes(&out, value_data(value, i), value->output[i].bytes);
    }
}

struct value *value_wire_read(struct rank *rank, struct wire_reader *reader, uint32_t outputs)
{
    struct value_part parts[MANTA_PARAM_MAX] = {0};
    if (outputs > MANTA_PARAM_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < outputs; i++) {
        parts[i].bytes = wire_get_u32(reader);
        parts[i].is_refs = wire_get_u32(reader) != 0;
        parts[i].data = wire_take(reader, parts[i].bytes);
        if (reader->failed || (parts[i].is_refs && parts[i].bytes % sizeof(manta_ref))) {
            return NULL;
        }
    }
    return value_create(rank, parts, outputs);
}

void value_each_ref(struct rank *rank, const struct value *value,
                    void (*each)(struct rank *rank, manta_ref ref, void *arg), void *arg)
{
    for (uint32_t i = 0; value && value->ref_outputs && i < value->outputs; i++) {
        if (!value->output[i].is_refs) {
            continue;
        }
        for (uint32_t at = 0; at < value->output[i].bytes; at += sizeof(manta_ref)) {
            manta_ref ref;
            memcpy(&ref, (char *)value_data(value, i) + at, sizeof ref);
            each(rank, ref, arg);
        }
    }
}
