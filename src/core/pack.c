#include "core/pack.h"

#include <stdio.h>
#include <string.h>

#define NULL_TEXT UINT64_MAX

enum resolved_kind { RESOLVED_BYTES, RESOLVED_REFS, RESOLVED_PLACE, RESOLVED_TYPED = 4 };

static bool is_input(uint32_t kind)
{
    return kind < MANTA_KIND_OUT;
}

static bool is_fixed(uint32_t kind, enum pack_form form)
{
    bool awaited = kind == MANTA_KIND_IN || kind == MANTA_KIND_INOUT;
    return kind == MANTA_KIND_VAL || kind == MANTA_KIND_REF || (awaited && form == PACK_WITH_REFS);
}

static size_t fixed_bytes(const manta_param *param)
{
    return param->kind == MANTA_KIND_VAL ? param->size : sizeof(manta_ref);
}

static size_t fixed_align(const manta_param *param)
{
    return param->kind == MANTA_KIND_VAL ? param->align : _Alignof(manta_ref);
}

static size_t data_align(const manta_param *param)
{
    return MT_MAX((size_t)param->align, 8u);
}

struct pack_walk pack_walk_init(const manta_function *function, uint8_t *base, size_t size,
                                enum pack_form form)
{
    return (struct pack_walk){.function = function, .base = base, .size = size, .form = form};
}

/* Room for `bytes` at the alignment; NULL and broken when the block ends before. */
static uint8_t *take(struct pack_walk *walk, size_t align, size_t bytes)
{
    size_t at = MT_ALIGN_UP(walk->at, align);
    if (at > walk->size || bytes > walk->size - at) {
        walk->is_broken = true;
        return NULL;
    }
    walk->at = at + bytes;
    return walk->base + at;
}

static bool next_place(struct pack_walk *walk, struct pack_arg *arg)
{
    struct location place;
    arg->data = take(walk, 8, sizeof place);
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
    uint8_t *head = take(walk, 8, 8);
    uint64_t bytes;
    if (!head) {
        return false;
    }
    memcpy(&bytes, head, sizeof bytes);
    if (param->kind == MANTA_KIND_IN || param->kind == MANTA_KIND_INOUT) {
        uint32_t kind = (uint32_t)(bytes >> 32);
        arg->is_typed = kind & RESOLVED_TYPED;
        if (kind & RESOLVED_PLACE) {
            return next_place(walk, arg);
        }
        arg->is_refs = kind & RESOLVED_REFS;
        bytes = (uint32_t)bytes;
    } else {
        arg->is_refs = param->kind == MANTA_KIND_REFS;
        arg->is_null = bytes == NULL_TEXT;
    }
    arg->bytes = arg->is_null ? 0 : bytes;
    arg->data = take(walk, data_align(param), arg->bytes);
    return arg->data != NULL;
}

static bool is_sound(const struct pack_arg *arg)
{
    size_t unit = arg->is_refs ? sizeof(manta_ref) : arg->param->size;
    if (arg->param->kind == MANTA_KIND_TEXT) {
        return arg->is_null || (arg->bytes && arg->data[arg->bytes - 1] == 0);
    }
    return arg->bytes % unit == 0 || arg->is_typed; /* its reader looks closer */
}

bool pack_next(struct pack_walk *walk, struct pack_arg *ret_arg)
{
    const manta_function *function = walk->function;
    while (walk->index < function->param_count && !is_input(function->params[walk->index].kind)) {
        walk->index++;
    }
    if (walk->is_broken || walk->index >= function->param_count) {
        return false;
    }
    struct pack_arg arg = {.param = &function->params[walk->index], .index = walk->index};
    walk->index++;
    if (is_fixed(arg.param->kind, walk->form)) {
        arg.bytes = fixed_bytes(arg.param);
        arg.data = take(walk, fixed_align(arg.param), arg.bytes);
        arg.is_refs = arg.param->kind != MANTA_KIND_VAL;
    } else if (next_variable(walk, &arg) && !is_sound(&arg)) {
        walk->is_broken = true;
    }
    if (walk->is_broken) {
        return false;
    }
    *ret_arg = arg;
    return true;
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
        return fixed_bytes(param);
    }
}

int pack_measure(const manta_function *function, const manta_slot *args, size_t *ret_bytes,
                 char *text, size_t text_size)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        if (!is_input(param->kind)) {
            continue;
        }
        bool is_needed = is_fixed(param->kind, PACK_WITH_REFS) ||
                         (args[i].count && param->kind != MANTA_KIND_TEXT);
        if (!args[i].data && is_needed) {
            snprintf(text, text_size, "argument %s is NULL but has %zu elements", param->name,
                     args[i].count);
            return MANTA_E_INVALID;
        }
        uint64_t bytes = call_bytes(param, &args[i]);
        if (is_fixed(param->kind, PACK_WITH_REFS)) {
            at = MT_ALIGN_UP(at, fixed_align(param)) + bytes;
        } else {
            at = MT_ALIGN_UP(MT_ALIGN_UP(at, (uint64_t)8) + 8, data_align(param)) + bytes;
        }
        if (at > MANTA_INLINE_MAX) {
            snprintf(text, text_size,
                     "argument %s has %zu elements; at most %d bytes of arguments travel inside a "
                     "task, and each text, span or refs takes 8 more: for more, manta_put the "
                     "values, and take them as in(T, %s)",
                     param->name, args[i].count, MANTA_INLINE_MAX, param->name);
            return MANTA_E_TOOBIG;
        }
    }
    *ret_bytes = at;
    return MANTA_OK;
}

static uint8_t *put(struct pack_writer *writer, size_t align, const void *data, size_t bytes)
{
    size_t at = MT_ALIGN_UP(writer->at, align);
    uint8_t *here = writer->out ? writer->out + at : NULL;
    if (here) {
        memset(writer->out + writer->at, 0, at - writer->at);
        if (data && bytes) {
            memcpy(here, data, bytes);
        }
    }
    writer->at = at + bytes;
    return here;
}

void pack_write(const manta_function *function, const manta_slot *args, uint8_t *out)
{
    struct pack_writer writer = {.out = out};
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        if (!is_input(param->kind)) {
            continue;
        }
        uint64_t bytes = call_bytes(param, &args[i]);
        if (is_fixed(param->kind, PACK_WITH_REFS)) {
            put(&writer, fixed_align(param), args[i].data, bytes);
            continue;
        }
        uint64_t head = param->kind == MANTA_KIND_TEXT && !args[i].data ? NULL_TEXT : bytes;
        put(&writer, 8, &head, sizeof head);
        put(&writer, data_align(param), args[i].data, bytes);
    }
}

void pack_put_arg(struct pack_writer *writer, const struct pack_arg *arg)
{
    if (is_fixed(arg->param->kind, PACK_WITH_REFS)) {
        put(writer, fixed_align(arg->param), arg->data, arg->bytes);
        return;
    }
    uint64_t head = arg->is_null ? NULL_TEXT : arg->bytes;
    put(writer, 8, &head, sizeof head);
    put(writer, data_align(arg->param), arg->data, arg->bytes);
}

void pack_put_value(struct pack_writer *writer, const manta_param *param,
                    const struct content *content)
{
    enum resolved_kind kind = content->place     ? RESOLVED_PLACE
                              : content->is_refs ? RESOLVED_REFS
                                                 : RESOLVED_BYTES;
    uint64_t flags = kind | (content->is_typed ? RESOLVED_TYPED : 0);
    uint64_t head = (content->place ? 0 : content->bytes) | flags << 32;
    put(writer, 8, &head, sizeof head);
    if (content->place) {
        put(writer, 8, content->place, sizeof *content->place);
    } else {
        put(writer, data_align(param), content->data, content->bytes);
    }
}
