/*
 * The registry of tasks.
 *
 * Constructors fill it before main, and dlopen later, so it takes insertions at any time
 * from any thread: an open-addressing table of pointers, filled by compare and exchange,
 * never shrunk, read without a lock. The key is 32 bits of FNV-1a over the name and the
 * kinds, sizes and types of the parameters; it travels in messages, so address space
 * layout and load order do not matter. Two tasks with one key (in practice: one name
 * used twice) are an error found at start, naming both places.
 */
#include "core/registry.h"

#include "base/compiler.h"
#include "base/map.h"
#include "core/pack.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { TABLE_SIZE = 8192, TABLE_MAX = TABLE_SIZE * 3 / 4 };

_Static_assert(sizeof(struct function_info) <= sizeof((manta_function){0}.reserved), "fits");

static _Atomic(manta_function *) table[TABLE_SIZE];
static atomic_uint table_count;
static _Atomic(const manta_function *) clash_a, clash_b, malformed;
static atomic_uint is_full;

static uint32_t hash_bytes(uint32_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    while (size--) {
        hash = (hash ^ *at++) * 16777619u;
    }
    return hash;
}

static uint32_t hash_function(const manta_function *function)
{
    uint32_t hash = hash_bytes(2166136261u, function->name, strlen(function->name));
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        hash = hash_bytes(hash, &param->kind, sizeof param->kind);
        hash = hash_bytes(hash, &param->size, sizeof param->size);
        hash = hash_bytes(hash, param->type, strlen(param->type) + 1);
    }
    return hash ? hash : 1;
}

static bool is_output(uint32_t kind)
{
    return kind == MANTA_KIND_INOUT || kind >= MANTA_KIND_OUT;
}

static bool is_well_formed(const manta_function *function)
{
    if (!function->name || !function->file || !function->run ||
        function->param_count > MANTA_PARAM_MAX || (function->param_count && !function->params)) {
        return false;
    }
    uint32_t outputs = 0, streams = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        if (param->kind < MANTA_KIND_VAL || param->kind > MANTA_KIND_STREAM || !param->size ||
            param->size > MANTA_INLINE_MAX || !param->align || param->align > 16 ||
            (param->align & (param->align - 1)) || !param->type || !param->name) {
            return false;
        }
        outputs += is_output(param->kind);
        streams += param->kind == MANTA_KIND_STREAM;
    }
    return !streams || outputs == 1;
}

static void note_info(manta_function *function)
{
    struct function_info info = {.hash = hash_function(function)};
    const manta_param *single = NULL;
    for (uint32_t i = 0; i < function->param_count; i++) {
        uint32_t kind = function->params[i].kind;
        info.inputs_awaited += kind == MANTA_KIND_IN || kind == MANTA_KIND_INOUT ||
                               pack_is_after(&function->params[i]);
        info.ref_inputs += kind >= MANTA_KIND_IN && kind <= MANTA_KIND_REFS;
        info.has_refs |= kind == MANTA_KIND_REF || kind == MANTA_KIND_REFS;
        info.ref_outputs += kind == MANTA_KIND_OUTREFS;
        info.is_stream |= kind == MANTA_KIND_STREAM;
        if (is_output(kind)) {
            single = &function->params[i];
            info.value_outputs++;
        }
    }
    info.outputs = (uint16_t)MT_MAX(info.value_outputs, 1);
    if (info.value_outputs == 1 && single->kind == MANTA_KIND_OUT && single->size <= 48) {
        info.single_bytes = (uint8_t)single->size;
        info.single_param = (uint8_t)(single - function->params);
    }
    if (info.is_stream) {
        info.single_bytes = sizeof(uint64_t); /* how many items there were */
    }
    *function_info(function) = info;
}

static void insert(manta_function *function)
{
    for (uint32_t i = function_hash(function);; i++) {
        manta_function *there = NULL;
        _Atomic(manta_function *) *slot = &table[i % TABLE_SIZE];
        if (atomic_compare_exchange_strong(slot, &there, function)) {
            return;
        }
        if (there == function) {
            return;
        }
        if (function_hash(there) == function_hash(function)) {
            atomic_store(&clash_a, there);
            atomic_store(&clash_b, function);
            function_info(function)->hash =
                0; /* one that comes during a run is refused at submission */
            return;
        }
    }
}

void manta_function_register(manta_function *function)
{
    if (!function || !is_well_formed(function)) {
        atomic_store(&malformed, function);
        return;
    }
    if (atomic_fetch_add(&table_count, 1) >= TABLE_MAX) {
        atomic_store(&is_full, 1);
        return;
    }
    note_info(function);
    insert(function);
}

manta_function *registry_find(uint32_t hash)
{
    for (uint32_t i = hash;; i++) {
        manta_function *there = atomic_load_explicit(&table[i % TABLE_SIZE], memory_order_acquire);
        if (!there || function_hash(there) == hash) {
            return there;
        }
    }
}

const manta_function *registry_next(uint32_t *at)
{
    const manta_function *function = NULL;
    while (!function && *at < TABLE_SIZE) {
        function = atomic_load_explicit(&table[(*at)++], memory_order_acquire);
    }
    return function;
}

int registry_check(char *text, size_t size)
{
    const manta_function *a = atomic_load(&clash_a), *b = atomic_load(&clash_b);
    const manta_function *bad = atomic_load(&malformed);
    if (a) {
        snprintf(text, size, "two tasks are called %s: at %s:%u and at %s:%u; rename one", a->name,
                 a->file, a->line, b->file, b->line);
        return MANTA_E_INVALID;
    }
    if (bad) {
        snprintf(text, size,
                 "the descriptor of task %s is malformed: it needs a name, a file, a run function "
                 "and at "
                 "most %d parameters of known kinds with sizes from 1 to %d bytes; a stream is "
                 "the only output",
                 bad->name ? bad->name : "(unnamed)", MANTA_PARAM_MAX, MANTA_INLINE_MAX);
        return MANTA_E_INVALID;
    }
    if (atomic_load(&is_full)) {
        snprintf(text, size, "more than %d tasks are registered", TABLE_MAX);
        return MANTA_E_LIMIT;
    }
    return MANTA_OK;
}

uint64_t registry_digest(void)
{
    uint64_t digest = 0;
    for (unsigned i = 0; i < TABLE_SIZE; i++) {
        const manta_function *function = atomic_load(&table[i]);
        digest += function ? base_mix64(function_hash(function)) : 0;
    }
    return digest;
}

static const char *const kind_names[] = {
    [MANTA_KIND_VAL] = "val",         [MANTA_KIND_TEXT] = "text",     [MANTA_KIND_SPAN] = "span",
    [MANTA_KIND_IN] = "in",           [MANTA_KIND_INOUT] = "inout",   [MANTA_KIND_REF] = "ref",
    [MANTA_KIND_REFS] = "refs",       [MANTA_KIND_OUT] = "out",       [MANTA_KIND_OUTV] = "outv",
    [MANTA_KIND_OUTREFS] = "outrefs", [MANTA_KIND_STREAM] = "stream",
};

int registry_describe(unsigned i, char *text, size_t size)
{
    for (unsigned at = 0; at < TABLE_SIZE; at++) {
        const manta_function *function = atomic_load(&table[at]);
        if (!function || i--) {
            continue;
        }
        int length = snprintf(text, size, "%s(", function->name);
        for (uint32_t p = 0; p < function->param_count && (size_t)length < size; p++) {
            const manta_param *param = &function->params[p];
            length += snprintf(text + length, size - (size_t)length, "%s%s %s[%u]", p ? ", " : "",
                               kind_names[param->kind], param->type, param->size);
        }
        if ((size_t)length < size) {
            length += snprintf(text + length, size - (size_t)length, ") at %s:%u", function->file,
                               function->line);
        }
        return length;
    }
    return 0;
}
