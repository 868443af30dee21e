#include "core/pack.h"

#include <stdio.h>
#include <string.h>

enum resolved_kind { RESOLVED_BYTES, RESOLVED_REFS, RESOLVED_PLACE, RESOLVED_TYPED = 4 };

static bool is_input(uint32_t kind)
{
    return kind < MANTA_KIND_OUT;
}

static bool next_place(struct pack_walk *walk, struct pack_arg *arg)
{
    struct location place;
    arg->data = pack_take(walk, 8, sizeof place);
    if (!arg->data) {
        return false;
    }
    memcpy(&place, arg->data, sizeof place);
    arg->is_stored = true;
    arg->bytes = place.bytes;
    return true;
}

static bool next_variable(struct pack_walk *walk, struct pack_arg *arg)
{
    const manta_param *param = arg->param;
    uint8_t *head = pack_take(walk, 8, 8);
    uint64_t bytes;
    if (!head) {
        return false;
    }
    memcpy(&bytes, head, sizeof bytes);
    if (pack_is_value(param)) {
        uint32_t kind = (uint32_t)(bytes >> 32);
        arg->is_typed = kind & RESOLVED_TYPED;
        if (kind & RESOLVED_PLACE) {
            return next_place(walk, arg);
        }
        arg->is_refs = kind & RESOLVED_REFS;
        bytes = (uint32_t)bytes;
    } else {
        arg->is_refs = param->kind == MANTA_KIND_REFS;
        arg->is_null = bytes == PACK_NULL_TEXT;
    }
    arg->bytes = arg->is_null ? 0 : bytes;
    arg->data = pack_take(walk, pack_data_align(param), arg->bytes);
    return arg->data != NULL;
}

static bool is_sound(const struct pack_arg *arg)
{
    size_t unit = arg->is_refs ? sizeof(manta_ref) : arg->param->size;
    if (arg->param->kind == MANTA_KIND_TEXT) {
        return arg->is_null || (arg->bytes && arg->data[arg->bytes - 1] == 0);
    }
    return pack_is_whole(arg->bytes, unit) || arg->is_typed; /* its reader looks closer */
}

void pack_next_variable(struct pack_walk *walk, struct pack_arg *arg)
{
    if (next_variable(walk, arg) && !is_sound(arg)) {
        walk->is_broken = true;
    }
}

static struct base_spares *spares_for(struct rank *rank, size_t bytes)
{
    return &rank->spare_blocks[(bytes - 1) / PACK_SPARE_STEP];
}

uint8_t *pack_block_create(struct rank *rank, size_t bytes)
{
    return bytes <= PACK_SPARE_BYTES ? base_spares_take_raw(spares_for(rank, bytes))
                                     : base_alloc_aligned(16, MT_ALIGN_UP(bytes, (size_t)16));
}

MT_NOINLINE void pack_block_give(struct rank *rank, uint8_t *block, size_t bytes)
{
    if (bytes <= PACK_SPARE_BYTES) {
        base_spares_give(spares_for(rank, bytes), block);
    } else {
        base_free(block);
    }
}

/* Bytes of one argument at the call. */
static uint64_t call_bytes(const manta_param *param, const manta_slot *slot)
{
    switch (param->kind) {
    case MANTA_KIND_TEXT:
        return slot->data ? strlen(slot->data) + 1 : 0;
    case MANTA_KIND_SPAN:
        return slot->count > MANTA_INLINE_MAX ? UINT32_MAX : (uint64_t)slot->count * param->size;
    case MANTA_KIND_REFS:
        return slot->count > MANTA_INLINE_MAX ? UINT32_MAX : slot->count * sizeof(manta_ref);
    default:
        return pack_fixed_bytes(param);
    }
}

static MT_COLD int refuse(const manta_param *param, const manta_slot *slot, char *text,
                          size_t text_size)
{
    if (!slot->data) {
        snprintf(text, text_size, "argument %s is NULL but has %zu elements", param->name,
                 slot->count);
        return MANTA_E_INVALID;
    }
    snprintf(text, text_size,
             "argument %s has %zu elements; at most %d bytes of arguments travel inside a "
             "task, and each text, span or refs takes 8 more: for more, manta_put the "
             "values, and take them as in(T, %s)",
             param->name, slot->count, MANTA_INLINE_MAX, param->name);
    return MANTA_E_TOOBIG;
}

int pack_measure(const manta_function *function, const manta_slot *args, size_t *ret_bytes,
                 char *text, size_t text_size)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        bool is_needed;
        if (pack_is_fixed(param)) {
            at = MT_ALIGN_UP(at, pack_fixed_align(param)) + pack_fixed_bytes(param);
            is_needed = true;
        } else if (is_input(param->kind)) {
            at = MT_ALIGN_UP(MT_ALIGN_UP(at, (uint64_t)8) + 8, pack_data_align(param)) +
                 (args[i].data ? call_bytes(param, &args[i]) : 0);
            is_needed = args[i].count && param->kind != MANTA_KIND_TEXT;
        } else {
            continue;
        }
        if (MT_UNLIKELY((is_needed && !args[i].data) || at > MANTA_INLINE_MAX)) {
            return refuse(param, &args[i], text, text_size);
        }
    }
    *ret_bytes = at;
    return MANTA_OK;
}

static void put_zeros(uint8_t *out, size_t from, size_t to)
{
    if (MT_UNLIKELY(from < to)) {
        memset(out + from, 0, to - from);
    }
}

/* Most are a word or a ref, for which a call is long. */
static inline void copy(uint8_t *to, const void *from, size_t bytes)
{
    if (bytes == sizeof(uint64_t)) {
        memcpy(to, from, sizeof(uint64_t));
    } else if (bytes == sizeof(manta_ref)) {
        memcpy(to, from, sizeof(manta_ref));
    } else if (bytes) {
        memcpy(to, from, bytes);
    }
}

size_t pack_put(uint8_t *out, size_t end, const struct pack_piece *piece)
{
    if (!out) {
        return piece->at + piece->bytes;
    }
    put_zeros(out, end, piece->head_at);
    if (piece->head_at < piece->at) {
        memcpy(out + piece->head_at, &piece->head, sizeof piece->head);
        put_zeros(out, piece->head_at + sizeof piece->head, piece->at);
    }
    copy(out + piece->at, piece->data, piece->bytes);
    return piece->at + piece->bytes;
}

static struct pack_piece fixed_piece(size_t end, const manta_param *param, const void *data)
{
    size_t at = MT_ALIGN_UP(end, pack_fixed_align(param));
    return (struct pack_piece){
        .data = data, .bytes = pack_fixed_bytes(param), .at = at, .head_at = at};
}

static struct pack_piece headed_piece(size_t end, uint64_t head, size_t align, const void *data,
                                      size_t bytes)
{
    size_t at = MT_ALIGN_UP(end, (size_t)8);
    return (struct pack_piece){.data = data,
                               .bytes = bytes,
                               .at = MT_ALIGN_UP(at + 8, align),
                               .head_at = at,
                               .head = head};
}

struct pack_piece pack_arg_piece(size_t end, const manta_param *param, const uint8_t *data,
                                 uint64_t bytes)
{
    return pack_is_fixed(param) ? fixed_piece(end, param, data)
                                : headed_piece(end, bytes, pack_data_align(param), data,
                                               bytes == PACK_NULL_TEXT ? 0 : bytes);
}

struct pack_piece pack_value_piece(size_t end, const manta_param *param,
                                   const struct content *content)
{
    uint64_t kind = (content->is_refs ? RESOLVED_REFS : RESOLVED_BYTES) |
                    (content->is_typed ? RESOLVED_TYPED : 0);
    if (MT_UNLIKELY(content->place != NULL)) {
        kind = RESOLVED_PLACE | (content->is_typed ? RESOLVED_TYPED : 0);
        return headed_piece(end, kind << 32, 8, content->place, sizeof *content->place);
    }
    return headed_piece(end, content->bytes | kind << 32, pack_data_align(param), content->data,
                        content->bytes);
}

void pack_write(const manta_function *function, const manta_slot *args, uint8_t *out)
{
    size_t end = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        if (pack_is_fixed(param)) {
            size_t at = MT_ALIGN_UP(end, pack_fixed_align(param));
            put_zeros(out, end, at);
            end = at + pack_fixed_bytes(param);
            copy(out + at, args[i].data, end - at);
        } else if (is_input(param->kind)) {
            uint64_t bytes = call_bytes(param, &args[i]);
            bool is_null = param->kind == MANTA_KIND_TEXT && !args[i].data;
            struct pack_piece piece =
                pack_arg_piece(end, param, args[i].data, is_null ? PACK_NULL_TEXT : bytes);
            end = pack_put(out, end, &piece);
        }
    }
}
