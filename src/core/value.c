#include "core/value.h"

#include "core/fetch.h"
#include "core/heirs.h"
#include "core/spill.h"
#include "core/spread.h"

enum wire_output { WIRE_OUTPUT_REFS = 1, WIRE_OUTPUT_STORED = 2, WIRE_OUTPUT_TYPED = 4 };

static bool is_inline(const struct value_part *part)
{
    return !part->is_stored && !part->place;
}

static size_t head_bytes(uint32_t outputs)
{
    return MT_ALIGN_UP(sizeof(struct value) + outputs * sizeof(struct output), (size_t)16);
}

static void set_stored(struct rank *rank, struct output *output, const struct value_part *part,
                       manta_ref id)
{
    output->is_stored = true;
    if (part->place) {
        output->place = *part->place;
        output->bytes = part->place->bytes;
        if (MT_UNLIKELY(rank->deaths) && !part->is_stored) {
            heirs_claim(rank, output);
        }
    } else {
        uint64_t offset = store_seal(rank->options.store, (void *)(uintptr_t)part->data);
        output->place =
            (struct location){id.parent, id.position, rank->number, offset, part->bytes};
        spill_add(rank, &output->place);
    }
    output->data = stored_data(rank, &output->place);
}

struct value *value_create(struct rank *rank, const struct value_part *parts, uint32_t count,
                           manta_ref id)
{
    size_t total = head_bytes(count);
    for (uint32_t i = 0; i < count; i++) {
        total += is_inline(&parts[i]) ? MT_ALIGN_UP((size_t)parts[i].bytes, (size_t)16) : 0;
    }
    bool is_spare = total <= VALUE_SPARE_BYTES;
    struct value *value =
        is_spare ? base_spares_take_raw(&rank->spare_values) : base_alloc_aligned(16, total);
    if (!value) {
        return NULL;
    }
    *value = (struct value){.sharers = 1, .outputs = (uint16_t)count, .is_spare = is_spare};
    uint8_t *at = (uint8_t *)value + head_bytes(count);
    for (uint32_t i = 0; i < count; i++) {
        struct output *output = &value->output[i];
        *output = (struct output){.data = at,
                                  .bytes = parts[i].bytes,
                                  .is_refs = parts[i].is_refs,
                                  .is_typed = parts[i].is_typed};
        value->ref_outputs += parts[i].is_refs;
        if (!is_inline(&parts[i])) {
            set_stored(rank, output, &parts[i],
                       (manta_ref){id.parent, id.position + i, rank->number});
            value->stored_outputs++;
            value->owns_blocks |= parts[i].is_stored;
        } else if (parts[i].bytes) {
            memcpy(at, parts[i].data, parts[i].bytes);
            at += MT_ALIGN_UP((size_t)parts[i].bytes, (size_t)16);
        }
    }
    rank->values_live++;
    return value;
}

static void free_own(struct rank *rank, const struct location *of)
{
    if (MT_UNLIKELY(rank->deaths)) {
        heirs_free(rank, of);
    } else {
        spread_free(rank, of);
    }
}

static void free_blocks(struct rank *rank, struct value *value)
{
    for (uint32_t i = 0; i < value->outputs; i++) {
        fetch_let_go(rank, &value->output[i]);
        heirs_end_claim(rank, &value->output[i]);
        if (value->owns_blocks && value->output[i].is_stored && !value->output[i].is_moved) {
            free_own(rank, &value->output[i].place);
        }
    }
}

void value_free(struct rank *rank, struct value *value)
{
    rank->values_live--;
    if (value->stored_outputs) {
        free_blocks(rank, value);
    }
    if (value->is_spare) {
        base_spares_give(&rank->spare_values, value);
    } else {
        base_free(value);
    }
}

size_t content_wire_bytes(const struct content *content)
{
    return 8 + (content->place ? sizeof *content->place : content->bytes);
}

void content_wire_write(const struct content *content, uint8_t **out)
{
    wire_put_u32(out, content->place ? 0 : (uint32_t)content->bytes);
    wire_put_u32(out, (content->is_refs ? WIRE_OUTPUT_REFS : 0) |
                          (content->place ? WIRE_OUTPUT_STORED : 0) |
                          (content->is_typed ? WIRE_OUTPUT_TYPED : 0));
    if (content->place) {
        wire_put_bytes(out, content->place, sizeof *content->place);
    } else {
        wire_put_bytes(out, content->data, content->bytes);
    }
}

size_t value_wire_bytes(const struct value *value)
{
    size_t total = 0;
    for (uint32_t i = 0; i < value->outputs; i++) {
        struct content content = value_content(value, i);
        total += content_wire_bytes(&content);
    }
    return total;
}

void value_wire_write(const struct value *value, uint8_t *out)
{
    for (uint32_t i = 0; i < value->outputs; i++) {
        struct content content = value_content(value, i);
        content_wire_write(&content, &out);
    }
}

static bool read_output(struct rank *rank, struct wire_reader *reader, struct value_part *part,
                        struct location *place)
{
    uint32_t bytes = wire_get_u32(reader), flags = wire_get_u32(reader);
    bool is_stored = flags & WIRE_OUTPUT_STORED;
    const void *data = wire_take(reader, is_stored ? sizeof *place : bytes);
    if (reader->failed || flags > (WIRE_OUTPUT_REFS | WIRE_OUTPUT_STORED | WIRE_OUTPUT_TYPED)) {
        return false;
    }
    *part = (struct value_part){.data = data,
                                .bytes = bytes,
                                .is_refs = flags & WIRE_OUTPUT_REFS,
                                .is_typed = flags & WIRE_OUTPUT_TYPED};
    if (is_stored) {
        memcpy(place, data, sizeof *place);
        part->place = place;
        return place->rank < rank->size && rank->options.store && !part->is_refs;
    }
    return !part->is_refs || bytes % sizeof(manta_ref) == 0;
}

struct value *value_wire_read(struct rank *rank, struct wire_reader *reader, uint32_t outputs)
{
    struct value_part parts[MANTA_PARAM_MAX] = {0};
    struct location places[MANTA_PARAM_MAX];
    if (outputs > MANTA_PARAM_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < outputs; i++) {
        if (!read_output(rank, reader, &parts[i], &places[i])) {
            return NULL;
        }
    }
    return value_create(rank, parts, outputs, (manta_ref){0});
}

void value_each_ref(struct rank *rank, const struct value *value,
                    void (*each)(struct rank *rank, manta_ref ref, void *arg), void *arg)
{
    for (uint32_t i = 0; value && value->ref_outputs && i < value->outputs; i++) {
        if (!value->output[i].is_refs) {
            continue;
        }
        for (uint64_t at = 0; at < value->output[i].bytes; at += sizeof(manta_ref)) {
            manta_ref ref;
            memcpy(&ref, (const char *)value->output[i].data + at, sizeof ref);
            each(rank, ref, arg);
        }
    }
}
