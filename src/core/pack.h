/*
 * Arguments as bytes. A submitted task keeps them packed with refs as refs; before it is
 * executed, in and inout refs are replaced by their values ("resolved"), the only form
 * that travels. Its walker (pack_next) checks every length, because resolved bytes come from
 * other ranks; the one over the own tasks' (pack_next_own) has nothing to check.
 *
 * Layout, in parameter order, outputs skipped: val and ref are their bytes at their
 * alignment; text, span, refs are a u64 count of bytes, then the bytes; a resolved in or
 * inout is u32 bytes, u32 kind, then the bytes, or its place if it is in a store. The block
 * itself is 16-aligned.
 */
#ifndef CORE_PACK_H
#define CORE_PACK_H

#include "core/rank.h"

/* What resolved arguments may take: each parameter the most that a value has outside of a store,
 * as a RESULT may have in each output. With its options such a TASK is one message. */
#define PACK_RESOLVED_MAX (MANTA_PARAM_MAX * (MANTA_INLINE_MAX + 64u))
_Static_assert(PACK_RESOLVED_MAX + 4096 <= WIRE_BODY_MAX, "the largest task is no message");

/* An array of refs that the task waits for, though its body gets no values: the parameter `after`
 * of commands. A parameter of refs has no use for a size, so 1 marks it. */
static inline bool pack_is_after(const manta_param *param)
{
    return param->kind == MANTA_KIND_REFS && param->size == 1;
}

#define PACK_NULL_TEXT UINT64_MAX

/* Over resolved arguments. */
struct pack_walk {
    const manta_function *function;
    uint8_t *base;
    size_t size, at;
    uint32_t index; /* of the next parameter */
    bool is_broken;
};

struct pack_arg {
    const manta_param *param;
    uint32_t index;
    uint8_t *data;
    size_t bytes;
    bool is_null;   /* text that was NULL */
    bool is_refs;   /* data is an array of refs */
    bool is_stored; /* data is a struct location, bytes what lies there */
    bool is_typed;  /* a layout is among the bytes: see layout.h */
};

static inline struct pack_walk pack_walk_init(const manta_function *function, uint8_t *base,
                                              size_t size)
{
    return (struct pack_walk){.function = function, .base = base, .size = size};
}

static inline struct pack_walk pack_walk_run(struct run *run)
{
    return pack_walk_init(run->function, run->args ? run->args : run->args_small, run->args_bytes);
}

/* Its body gets the value of a ref. */
static inline bool pack_is_value(const manta_param *param)
{
    return param->kind == MANTA_KIND_IN || param->kind == MANTA_KIND_INOUT;
}

/* As many bytes in each call, with refs as refs. */
static inline bool pack_is_fixed(const manta_param *param)
{
    return param->kind == MANTA_KIND_VAL || param->kind == MANTA_KIND_REF || pack_is_value(param);
}

static inline size_t pack_fixed_bytes(const manta_param *param)
{
    return param->kind == MANTA_KIND_VAL ? param->size : sizeof(manta_ref);
}

static inline size_t pack_fixed_align(const manta_param *param)
{
    return param->kind == MANTA_KIND_VAL ? param->align : _Alignof(manta_ref);
}

static inline size_t pack_data_align(const manta_param *param)
{
    return MT_MAX((size_t)param->align, 8u);
}

/* Room for `bytes` at the alignment; NULL and broken when the block ends before. */
static inline uint8_t *pack_take(struct pack_walk *walk, size_t align, size_t bytes)
{
    size_t at = MT_ALIGN_UP(walk->at, align);
    if (MT_UNLIKELY(at > walk->size || bytes > walk->size - at)) {
        walk->is_broken = true;
        return NULL;
    }
    walk->at = at + bytes;
    return walk->base + at;
}

/* Of another length in each call. */
void pack_next_variable(struct pack_walk *walk, struct pack_arg *arg);

/* The next input parameter; false at the end or when the bytes are broken (walk->is_broken). */
static inline bool pack_next(struct pack_walk *walk, struct pack_arg *ret_arg)
{
    const manta_function *function = walk->function;
    uint32_t index = walk->index;
    while (index < function->param_count && function->params[index].kind >= MANTA_KIND_OUT) {
        index++;
    }
    walk->index = index + 1;
    if (index >= function->param_count) {
        return false;
    }
    const manta_param *param = &function->params[index];
    *ret_arg = (struct pack_arg){.param = param, .index = index};
    if (param->kind == MANTA_KIND_VAL || param->kind == MANTA_KIND_REF) {
        ret_arg->bytes = pack_fixed_bytes(param);
        ret_arg->data = pack_take(walk, pack_fixed_align(param), ret_arg->bytes);
        ret_arg->is_refs = param->kind != MANTA_KIND_VAL;
    } else {
        pack_next_variable(walk, ret_arg);
    }
    return !walk->is_broken;
}

/* Over the arguments of a task of this rank, refs as refs. */
struct pack_own {
    const manta_param *next, *end;
    const uint8_t *at;
};

static inline struct pack_own pack_own_init(const manta_function *function, const uint8_t *base)
{
    return (struct pack_own){function->params, function->params + function->param_count, base};
}

static inline const uint8_t *pack_align(const uint8_t *at, size_t align)
{
    return (const uint8_t *)MT_ALIGN_UP((uintptr_t)at, (uintptr_t)align);
}

/* The next input parameter; NULL at the end. Bytes of a text that is NULL: PACK_NULL_TEXT. */
static inline const manta_param *pack_next_own(struct pack_own *own, const uint8_t **ret_data,
                                               uint64_t *ret_bytes)
{
    while (own->next != own->end && own->next->kind >= MANTA_KIND_OUT) {
        own->next++;
    }
    if (own->next == own->end) {
        return NULL;
    }
    const manta_param *param = own->next++;
    if (pack_is_fixed(param)) {
        *ret_data = pack_align(own->at, pack_fixed_align(param));
        *ret_bytes = pack_fixed_bytes(param);
        own->at = *ret_data + *ret_bytes;
    } else {
        const uint8_t *head = pack_align(own->at, 8);
        memcpy(ret_bytes, head, sizeof *ret_bytes);
        *ret_data = pack_align(head + sizeof *ret_bytes, pack_data_align(param));
        own->at = *ret_data + (*ret_bytes == PACK_NULL_TEXT ? 0 : *ret_bytes);
    }
    return param;
}

/* The refs among them, one after the other. */
struct pack_refs {
    struct pack_own own;
    const manta_param *param; /* whose ref it is */
    const uint8_t *data;
    uint64_t left; /* bytes of its refs */
};

static inline bool pack_is_refs(const manta_param *param)
{
    return param->kind >= MANTA_KIND_IN && param->kind <= MANTA_KIND_REFS;
}

static inline bool pack_next_ref(struct pack_refs *refs, manta_ref *ret_ref)
{
    while (!refs->left) {
        refs->param = pack_next_own(&refs->own, &refs->data, &refs->left);
        if (!refs->param) {
            return false;
        }
        refs->left = pack_is_refs(refs->param) ? refs->left : 0;
    }
    memcpy(ret_ref, refs->data, sizeof *ret_ref);
    refs->data += sizeof *ret_ref;
    refs->left -= sizeof *ret_ref;
    return true;
}

/* Bytes that `args` need; MANTA_E_TOOBIG or MANTA_E_INVALID with the reason in text. */
int pack_measure(const manta_function *function, const manta_slot *args, size_t *ret_bytes,
                 char *text, size_t text_size);
void pack_write(const manta_function *function, const manta_slot *args, uint8_t *out);

/* A block for packed arguments, of whatever bytes; those of few are used again. NULL: memory is
 * out. */
uint8_t *pack_block_create(struct rank *rank, size_t bytes) MT_CHECKED;
void pack_block_give(struct rank *rank, uint8_t *block, size_t bytes);
static inline void pack_block_free(struct rank *rank, uint8_t *block, size_t bytes)
{
    if (block) {
        pack_block_give(rank, block, bytes);
    }
}

/* Elements of `unit` bytes: so many there are, and whether all are whole. Most values are one, and
 * a division takes longer than all else about them. */
static inline uint64_t pack_count(uint64_t bytes, size_t unit)
{
    return bytes == unit ? 1 : unit == 1 ? bytes : bytes / unit;
}
static inline bool pack_is_whole(uint64_t bytes, size_t unit)
{
    return bytes == unit || unit == 1 || bytes % unit == 0;
}

/* Where one argument lies in the resolved form, and what it is. */
struct pack_piece {
    const void *data;
    size_t bytes, at;
    size_t head_at; /* at: it has no head */
    uint64_t head;
};

/* What follows the piece that ends there: of an argument as pack_next_own says it, of a value. */
struct pack_piece pack_arg_piece(size_t end, const manta_param *param, const uint8_t *data,
                                 uint64_t bytes);
struct pack_piece pack_value_piece(size_t end, const manta_param *param,
                                   const struct content *content);
/* Returns where it ends. out: of the whole; NULL: nothing is written. */
size_t pack_put(uint8_t *out, size_t end, const struct pack_piece *piece);

#endif
