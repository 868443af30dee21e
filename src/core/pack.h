/*
 * Arguments as bytes. A submitted task keeps them packed with refs as refs; before it is
 * executed, in and inout refs are replaced by their values ("resolved"), the only form
 * that travels. One walker reads both forms and checks every length, because resolved
 * bytes come from other ranks.
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

enum pack_form { PACK_WITH_REFS, PACK_RESOLVED };

struct pack_walk {
    const manta_function *function;
    uint8_t *base;
    size_t size, at;
    uint32_t index; /* of the next parameter */
    enum pack_form form;
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

struct pack_walk pack_walk_init(const manta_function *function, uint8_t *base, size_t size,
                                enum pack_form form);
/* The next input parameter; false at the end or when the bytes are broken (walk->is_broken). */
bool pack_next(struct pack_walk *walk, struct pack_arg *ret_arg);

/* Bytes that `args` need; MANTA_E_TOOBIG or MANTA_E_INVALID with the reason in text. */
int pack_measure(const manta_function *function, const manta_slot *args, size_t *ret_bytes,
                 char *text, size_t text_size);
void pack_write(const manta_function *function, const manta_slot *args, uint8_t *out);

/* A writer for the resolved form. out may be NULL to measure. */
struct pack_writer {
    uint8_t *out;
    size_t at;
};
void pack_put_arg(struct pack_writer *writer, const struct pack_arg *arg);
void pack_put_value(struct pack_writer *writer, const manta_param *param,
                    const struct content *content);

#endif
