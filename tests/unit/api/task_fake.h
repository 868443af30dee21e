/*
 * A library of one thread that runs a task at the moment it is submitted: what the
 * macros hand over is unpacked, resolved and given to the body, and every result kept.
 * So a round trip through it proves both halves of the generated code, the call and the
 * body, against the binary interface alone. Values are never freed but for a reset.
 */
#ifndef TASK_FAKE_H
#define TASK_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif
#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_VALUES = 256 };

struct fake_value {
    char *data;
    size_t bytes;
    int code;
    int views; /* open ones */
};

static struct {
    manta_function *first; /* registered */
    unsigned registered;
    unsigned submissions;
    struct fake_value value[FAKE_VALUES];
    uint32_t values;
    const manta_function *function; /* of the last submission, as all below */
    manta_options options;
    int had_options;
    manta_slot slots[MANTA_PARAM_MAX];
    uint64_t map_index;
    char text[128]; /* of the last manta_fail */
} fake;

#ifdef __cplusplus
extern "C" {
#endif

struct manta_outv {
    size_t size;
    struct fake_value *value;
};

/* What a stream was given, one behind the other; how many items is its value. */
struct manta_source {
    size_t size;
    struct fake_value *count;
    char items[256];
    size_t bytes;
};
static struct manta_source fake_source;

static struct fake_value *fake_at(manta_ref ref)
{
    assert_in_range(ref.position, 1, fake.values);
    return &fake.value[ref.position - 1];
}

static struct fake_value *fake_make(size_t bytes)
{
    struct fake_value *value = &fake.value[fake.values++];
    assert_true(fake.values <= FAKE_VALUES);
    value->data = (char *)calloc(1, bytes + 1);
    value->bytes = bytes;
    return value;
}

static manta_ref fake_ref(const struct fake_value *value)
{
    manta_ref ref = {7, (uint32_t)(value - fake.value) + 1, 3};
    return ref;
}

/* A finished value, to be an argument. */
static manta_ref fake_put(const void *data, size_t bytes)
{
    struct fake_value *value = fake_make(bytes);
    memcpy(value->data, data, bytes);
    return fake_ref(value);
}

static void fake_reset(void)
{
    for (uint32_t i = 0; i < fake.values; i++) {
        free(fake.value[i].data);
    }
    memset(fake.value, 0, sizeof fake.value);
    fake.values = 0;
    fake.had_options = 0;
    fake.text[0] = 0;
}

static int fake_views(void)
{
    int views = 0;
    for (uint32_t i = 0; i < fake.values; i++) {
        views += fake.value[i].views;
    }
    return views;
}

void manta_function_register(manta_function *function)
{
    function->next = fake.first;
    fake.first = function;
    fake.registered++;
}

static const manta_function *fake_find(const char *name)
{
    const manta_function *function = fake.first;
    while (function && strcmp(function->name, name) != 0) {
        function = function->next;
    }
    return function;
}

static void fake_resolve(const manta_param *param, manta_slot *slot)
{
    manta_ref ref;
    memcpy(&ref, slot->data, sizeof ref);
    slot->data = fake_at(ref)->data;
    slot->count = fake_at(ref)->bytes / param->size;
}

/* Fills one slot for the body; gives the value when the parameter is an output. */
static struct fake_value *fake_unpack(const manta_param *param, manta_slot *slot, manta_outv *out)
{
    struct fake_value *value = NULL;
    switch (param->kind) {
    case MANTA_KIND_IN:
        fake_resolve(param, slot);
        break;
    case MANTA_KIND_INOUT:
        fake_resolve(param, slot);
        value = fake_make(slot->count * param->size);
        memcpy(value->data, slot->data, value->bytes);
        slot->data = value->data;
        break;
    case MANTA_KIND_OUT:
        assert_null(slot->data);
        value = fake_make(param->size);
        slot->data = value->data;
        break;
    case MANTA_KIND_OUTV:
    case MANTA_KIND_OUTREFS:
        assert_null(slot->data);
        value = fake_make(0);
        out->size = param->size;
        out->value = value;
        slot->data = out;
        break;
    case MANTA_KIND_STREAM:
        assert_null(slot->data);
        value = fake_make(sizeof(uint64_t));
        memset(&fake_source, 0, sizeof fake_source);
        fake_source.size = param->size;
        fake_source.count = value;
        slot->data = &fake_source;
        break;
    default:
        break;
    }
    return value;
}

void manta_submit(manta_function *function, const manta_options *options, const manta_slot *args,
                  manta_ref *ret_refs)
{
    manta_slot slots[MANTA_PARAM_MAX];
    manta_outv outs[MANTA_PARAM_MAX];
    struct fake_value *made[MANTA_PARAM_MAX];
    uint32_t outputs = 0;
    fake.submissions++;
    fake.function = function;
    fake.had_options = options != NULL;
    if (options) {
        fake.options = *options;
    }
    memcpy(fake.slots, args, function->param_count * sizeof *args);
    memcpy(slots, args, function->param_count * sizeof *args);
    for (uint32_t i = 0; i < function->param_count; i++) {
        struct fake_value *value = fake_unpack(&function->params[i], &slots[i], &outs[i]);
        if (value) {
            made[outputs++] = value;
        }
    }
    if (outputs == 0) {
        made[outputs++] = fake_make(0);
    }
    int code = function->run(slots);
    for (uint32_t i = 0; i < outputs; i++) {
        made[i]->code = code;
        ret_refs[i] = fake_ref(made[i]);
    }
}

manta_ref manta_map(manta_function *function, const manta_options *options, const manta_slot *args,
                    uint64_t count)
{
    manta_ref first = {0, 0, 0};
    for (fake.map_index = 0; fake.map_index < count; fake.map_index++) {
        manta_ref ref;
        manta_submit(function, options, args, &ref);
        first = fake.map_index ? first : ref;
    }
    return first;
}

uint64_t manta_map_index(void)
{
    return fake.map_index;
}

int manta_map_get(manta_ref map, void *values, size_t size, uint64_t count, int32_t *codes)
{
    assert_null(codes);
    for (uint32_t i = 0; i < count; i++) {
        manta_ref ref = {map.parent, map.position + i, map.owner};
        MANTA_TRY(manta_get(ref, (char *)values + i * size, size));
    }
    return MANTA_OK;
}

int manta_get(manta_ref ref, void *data, size_t size)
{
    const struct fake_value *value = fake_at(ref);
    if (value->code) {
        return value->code;
    }
    if (value->bytes != size) {
        return MANTA_E_TYPE;
    }
    if (size) {
        memcpy(data, value->data, size);
    }
    return MANTA_OK;
}

int manta_view(manta_ref ref, const void **ret_data, size_t *ret_bytes)
{
    struct fake_value *value = fake_at(ref);
    if (value->code) {
        return value->code;
    }
    value->views++;
    *ret_data = value->data;
    *ret_bytes = value->bytes;
    return MANTA_OK;
}

int manta_unview(manta_ref ref)
{
    struct fake_value *value = fake_at(ref);
    assert_true(value->views > 0);
    value->views--;
    return MANTA_OK;
}

void *manta_outv_alloc(manta_outv *out, size_t count)
{
    free(out->value->data);
    out->value->data = (char *)calloc(count + 1, out->size);
    out->value->bytes = count * out->size;
    return out->value->data;
}

int manta_yield(manta_source *stream, const void *items, size_t count)
{
    uint64_t yielded;
    memcpy(&yielded, stream->count->data, sizeof yielded);
    yielded++;
    memcpy(stream->count->data, &yielded, sizeof yielded);
    assert_true(stream->bytes + count * stream->size <= sizeof stream->items);
    memcpy(stream->items + stream->bytes, items, count * stream->size);
    stream->bytes += count * stream->size;
    return MANTA_OK;
}

int manta_fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fake.text, sizeof fake.text, format, args);
    va_end(args);
    return code;
}

#ifdef __cplusplus
}
#endif

#endif
