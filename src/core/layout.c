#include "core/layout.h"

#include <stdio.h>

int layout_check(const manta_layout *layout, uint64_t *ret_bytes, char *text, size_t text_size)
{
    uint64_t bytes = layout->item_bytes;
    uint32_t fixed = manta_dtype_bytes(layout->dtype);
    bool is_known = layout->dtype <= MANTA_DTYPE_COMPLEX128;
    if (!is_known || !layout->item_bytes || (fixed && fixed != layout->item_bytes)) {
        snprintf(text, text_size, "an element of type %s (%u) cannot have %u bytes",
                 manta_dtype_name(layout->dtype), layout->dtype, layout->item_bytes);
        return MANTA_E_INVALID;
    }
    if (layout->dims > MANTA_DIMS_MAX) {
        snprintf(text, text_size, "a layout has at most %d extents, not %u", MANTA_DIMS_MAX,
                 layout->dims);
        return MANTA_E_INVALID;
    }
    if (layout->reserved) {
        snprintf(text, text_size, "reserved is %u in this layout, and has to be 0: begin with {0}",
                 layout->reserved);
        return MANTA_E_INVALID;
    }
    for (uint32_t i = 0; i < layout->dims; i++) {
        if (__builtin_mul_overflow(bytes, layout->shape[i], &bytes) || bytes > INT64_MAX / 2) {
            snprintf(text, text_size, "extent %u is %llu: so many bytes cannot be counted", i,
                     (unsigned long long)layout->shape[i]);
            return MANTA_E_TOOBIG;
        }
    }
    *ret_bytes = bytes;
    return MANTA_OK;
}

void layout_write(void *data, uint64_t data_bytes, const manta_layout *layout)
{
    manta_layout clean = {
        .dtype = layout->dtype, .item_bytes = layout->item_bytes, .dims = layout->dims};
    uint64_t at = layout_offset(data_bytes);
    memcpy(clean.shape, layout->shape, layout->dims * sizeof clean.shape[0]);
    memset((uint8_t *)data + data_bytes, 0, at - data_bytes);
    memcpy((uint8_t *)data + at, &clean, sizeof clean);
}

bool layout_read(const void *data, uint64_t whole, manta_layout *ret_layout,
                 uint64_t *ret_data_bytes)
{
    manta_layout layout;
    char text[LAYOUT_TEXT_MAX];
    uint64_t bytes;
    if (whole < sizeof layout) {
        return false;
    }
    memcpy(&layout, (const uint8_t *)data + (whole - sizeof layout), sizeof layout);
    if (layout.dtype == MANTA_DTYPE_NONE ||
        layout_check(&layout, &bytes, text, sizeof text) != MANTA_OK ||
        layout_whole_bytes(bytes) != whole) {
        return false;
    }
    *ret_layout = layout;
    *ret_data_bytes = bytes;
    return true;
}

bool layout_of_content(const struct content *content, const manta_layout *expected,
                       manta_layout *ret_layout, uint64_t *ret_bytes)
{
    if (content->is_typed) {
        return layout_read(content->data, content->bytes, ret_layout, ret_bytes);
    }
    bool is_row = expected && expected->item_bytes && content->bytes % expected->item_bytes == 0;
    uint32_t item_bytes = is_row ? expected->item_bytes : 1;
    *ret_layout = (manta_layout){.dtype = is_row ? expected->dtype : MANTA_DTYPE_NONE,
                                 .item_bytes = item_bytes,
                                 .dims = 1,
                                 .shape = {content->bytes / item_bytes}};
    *ret_bytes = content->bytes;
    return true;
}

bool layout_is_readable(const manta_layout *found, uint32_t dtype, uint32_t item_bytes)
{
    bool is_bytes = dtype == MANTA_DTYPE_BYTES;
    if (is_bytes && item_bytes == 1) {
        return true;
    }
    return found->item_bytes == item_bytes &&
           (found->dtype == dtype || is_bytes || found->dtype == MANTA_DTYPE_BYTES);
}

bool layout_matches(const manta_layout *found, const manta_layout *expected)
{
    if (expected->dtype != MANTA_DTYPE_NONE &&
        !layout_is_readable(found, expected->dtype, expected->item_bytes)) {
        return false;
    }
    if (expected->dims == MANTA_ANY_DIMS) {
        return true;
    }
    bool is_same = found->dims == expected->dims;
    for (uint32_t i = 0; is_same && i < found->dims; i++) {
        is_same = expected->shape[i] == MANTA_ANY || expected->shape[i] == found->shape[i];
    }
    return is_same;
}

static size_t put_extent(char *text, size_t at, uint64_t extent, const char *behind)
{
    int length = extent == MANTA_ANY ? snprintf(text + at, LAYOUT_TEXT_MAX - at, "any%s", behind)
                                     : snprintf(text + at, LAYOUT_TEXT_MAX - at, "%llu%s",
                                                (unsigned long long)extent, behind);
    return MT_MIN(at + (size_t)length, (size_t)LAYOUT_TEXT_MAX - 1);
}

const char *layout_text(const manta_layout *layout, char text[LAYOUT_TEXT_MAX])
{
    size_t at = 0;
    bool is_any = layout->dims == MANTA_ANY_DIMS;
    for (uint32_t i = 0; !is_any && i < layout->dims; i++) {
        at = put_extent(text, at, layout->shape[i], i + 1 < layout->dims ? " x " : " ");
    }
    const char *shape = is_any ? "any shape of " : layout->dims ? "" : "one ";
    if (layout->dtype == MANTA_DTYPE_BYTES && layout->item_bytes != 1) {
        snprintf(text + at, LAYOUT_TEXT_MAX - at, "%sstruct of %u bytes", shape,
                 layout->item_bytes);
    } else {
        snprintf(text + at, LAYOUT_TEXT_MAX - at, "%s%s", shape,
                 layout->dtype ? manta_dtype_name(layout->dtype) : "any type");
    }
    return text;
}
