/*
 * The layout of a value: element type and shape, see <manta/array.h>.
 *
 * It lies behind the bytes that it describes, so whatever carries, copies, spills or frees a value
 * knows nothing of it: a typed value is a value of a few more bytes, with a flag that says so
 * (value_part.is_typed, content.is_typed, pack_arg.is_typed). Only who hands bytes to a program, or
 * takes them from one, looks: manta_view, manta_get, a body's arguments and results. Values without
 * a layout have neither the bytes nor the look.
 *
 *     data | up to 7 bytes | manta_layout
 */
#ifndef CORE_LAYOUT_H
#define CORE_LAYOUT_H

#include "core/rank.h"

/* Whether a program may say this: MANTA_OK and the bytes of its data, or MANTA_E_INVALID,
 * MANTA_E_TOOBIG, with the reason in text. */
int layout_check(const manta_layout *layout, uint64_t *ret_bytes, char *text, size_t text_size);

/* Bytes of a value with its layout, and where that begins. */
static inline uint64_t layout_offset(uint64_t data_bytes)
{
    return MT_ALIGN_UP(data_bytes, (uint64_t)8);
}
static inline uint64_t layout_whole_bytes(uint64_t data_bytes)
{
    return layout_offset(data_bytes) + sizeof(manta_layout);
}
/* Behind `data`, which has room for it. What padding there is becomes zero. */
void layout_write(void *data, uint64_t data_bytes, const manta_layout *layout);
/* From a value of `whole` bytes; false: they are damaged, as no program can make them. */
bool layout_read(const void *data, uint64_t whole, manta_layout *ret_layout,
                 uint64_t *ret_data_bytes);

/* What a program sees of a content that is here: bytes without the layout. False: damaged. */
static inline bool layout_strip(struct content *content)
{
    manta_layout layout;
    return MT_LIKELY(!content->is_typed) ||
           layout_read(content->data, content->bytes, &layout, &content->bytes);
}

/* The layout of a content that is here, and its bytes without it. One that has none is a row of
 * what is expected (may be NULL), if its size allows, else of bytes of which nothing is known.
 * False: damaged. */
bool layout_of_content(const struct content *content, const manta_layout *expected,
                       manta_layout *ret_layout, uint64_t *ret_bytes);

/* Whether an element of the first kind can be read as one of the second. */
bool layout_is_readable(const manta_layout *found, uint32_t dtype, uint32_t item_bytes);
/* Whether a value is what `expected` asks for: see manta_array_view. */
bool layout_matches(const manta_layout *found, const manta_layout *expected);

/* For people: "3 x 4 float64", "any shape of int32". Returns text. */
#define LAYOUT_TEXT_MAX 80
const char *layout_text(const manta_layout *layout, char text[LAYOUT_TEXT_MAX]);

#endif
