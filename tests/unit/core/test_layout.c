/*
 * Layouts behind values: what is written is read back, what no program can have made is not taken
 * for one, and who may read what.
 */
#include "core/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void what_is_written_is_read_back(void **state)
{
    uint8_t bytes[256];
    for (uint64_t rows = 0; rows < 9; rows++) {
        manta_layout layout = MANTA_LAYOUT(char, rows, 3), found;
        uint64_t length;
        layout.shape[5] = 99; /* of no extent: must not travel */
        memset(bytes, 0xee, sizeof bytes);
        layout_write(bytes, rows * 3, &layout);
        assert_true(layout_read(bytes, layout_whole_bytes(rows * 3), &found, &length));
        assert_int_equal(length, rows * 3);
        assert_int_equal(found.dtype, MANTA_DTYPE_BYTES);
        assert_int_equal(found.dims, 2);
        assert_int_equal(found.shape[0], rows);
        assert_int_equal(found.shape[1], 3);
        assert_int_equal(found.shape[5], 0);
    }
}

static void damaged_bytes_are_no_layout(void **state)
{
    union {
        manta_layout layout;
        uint8_t bytes[16 + sizeof(manta_layout)];
    } value;
    manta_layout good = MANTA_LAYOUT(double, 2), found, *at = (manta_layout *)(value.bytes + 16);
    uint64_t length = 7, whole = sizeof value;
    layout_write(value.bytes, 16, &good);
    assert_true(layout_read(&value, whole, &found, &length) && length == 16);
    length = 7;
    assert_false(layout_read(&value, sizeof(manta_layout) - 1, &found, &length));
    assert_false(layout_read(value.bytes + 8, whole - 8, &found, &length));
    for (int i = 0; i < 5; i++) {
        memcpy(at, &good, sizeof good);
        *(i == 0   ? &at->dtype
          : i == 1 ? &at->item_bytes
          : i == 2 ? &at->dims
          : i == 3 ? (uint32_t *)&at->shape[0]
                   : (uint32_t *)&at->shape[0] + 1) = i == 2 ? 9 : 0xffffffff;
        assert_false(layout_read(&value, whole, &found, &length));
    }
    memcpy(at, &good, sizeof good);
    at->dtype = MANTA_DTYPE_NONE;
    assert_false(layout_read(&value, whole, &found, &length));
    assert_int_equal(length, 7);
}

static void every_element_type_has_its_size_and_nothing_else(void **state)
{
    char text[MANTA_ERROR_TEXT_MAX];
    uint64_t bytes;
    for (uint32_t dtype = MANTA_DTYPE_BYTES; dtype <= MANTA_DTYPE_COMPLEX128; dtype++) {
        uint32_t size = manta_dtype_bytes(dtype);
        manta_layout layout = {
            .dtype = dtype, .item_bytes = size ? size : 3, .dims = 1, .shape = {5}};
        assert_int_equal(layout_check(&layout, &bytes, text, sizeof text), MANTA_OK);
        assert_int_equal(bytes, 5 * layout.item_bytes);
        layout.item_bytes++;
        assert_int_equal(layout_check(&layout, &bytes, text, sizeof text),
                         size ? MANTA_E_INVALID : MANTA_OK);
        assert_true(!size || strstr(text, manta_dtype_name(dtype)));
    }
    manta_layout unknown = {.dtype = MANTA_DTYPE_COMPLEX128 + 1, .item_bytes = 1};
    assert_int_equal(layout_check(&unknown, &bytes, text, sizeof text), MANTA_E_INVALID);
}

static void the_types_of_c_have_their_names(void **state)
{
    assert_int_equal(MANTA_DTYPE(int8_t), MANTA_DTYPE_INT8);
    assert_int_equal(MANTA_DTYPE(int16_t), MANTA_DTYPE_INT16);
    assert_int_equal(MANTA_DTYPE(int32_t), MANTA_DTYPE_INT32);
    assert_int_equal(MANTA_DTYPE(int64_t), MANTA_DTYPE_INT64);
    assert_int_equal(MANTA_DTYPE(long long), MANTA_DTYPE_INT64);
    assert_int_equal(MANTA_DTYPE(uint8_t), MANTA_DTYPE_UINT8);
    assert_int_equal(MANTA_DTYPE(uint16_t), MANTA_DTYPE_UINT16);
    assert_int_equal(MANTA_DTYPE(uint32_t), MANTA_DTYPE_UINT32);
    assert_int_equal(MANTA_DTYPE(size_t), MANTA_DTYPE_UINT64);
    assert_int_equal(MANTA_DTYPE(float), MANTA_DTYPE_FLOAT32);
    assert_int_equal(MANTA_DTYPE(double), MANTA_DTYPE_FLOAT64);
    assert_int_equal(MANTA_DTYPE(float _Complex), MANTA_DTYPE_COMPLEX64);
    assert_int_equal(MANTA_DTYPE(double _Complex), MANTA_DTYPE_COMPLEX128);
    assert_int_equal(MANTA_DTYPE(manta_bfloat16), MANTA_DTYPE_BFLOAT16);
    assert_int_equal(MANTA_DTYPE(manta_float16), MANTA_DTYPE_FLOAT16);
    assert_int_equal(MANTA_DTYPE(bool), MANTA_DTYPE_BOOL);
    assert_int_equal(MANTA_DTYPE(char), MANTA_DTYPE_BYTES);
    assert_int_equal(MANTA_DTYPE(struct manta_layout), MANTA_DTYPE_BYTES);
}

static void who_may_read_what(void **state)
{
    manta_layout doubles = MANTA_LAYOUT(double, 4), points = MANTA_LAYOUT(manta_layout, 4);
    assert_true(layout_is_readable(&doubles, MANTA_DTYPE_FLOAT64, 8));
    assert_false(layout_is_readable(&doubles, MANTA_DTYPE_INT64, 8));
    assert_false(layout_is_readable(&doubles, MANTA_DTYPE_FLOAT32, 4));
    assert_true(layout_is_readable(&doubles, MANTA_DTYPE_BYTES, 1)); /* raw */
    assert_true(layout_is_readable(&doubles, MANTA_DTYPE_BYTES, 8)); /* a struct of one */
    assert_false(layout_is_readable(&doubles, MANTA_DTYPE_BYTES, 16));
    assert_true(layout_is_readable(&points, MANTA_DTYPE_BYTES, sizeof(manta_layout)));
    assert_false(layout_is_readable(&points, MANTA_DTYPE_BYTES, 8));
}

static void what_is_reserved_has_to_be_zero(void **state)
{
    char text[200];
    uint64_t bytes = 7;
    manta_layout layout = MANTA_LAYOUT(double, 4);
    assert_int_equal(layout_check(&layout, &bytes, text, sizeof text), MANTA_OK);
    layout.reserved = 3;
    bytes = 7;
    assert_int_equal(layout_check(&layout, &bytes, text, sizeof text), MANTA_E_INVALID);
    assert_non_null(strstr(text, "reserved is 3"));
    assert_int_equal(bytes, 7);
}

static void a_layout_reads_well(void **state)
{
    char text[LAYOUT_TEXT_MAX];
    manta_layout layout = MANTA_LAYOUT(float, 2, 3, MANTA_ANY);
    assert_string_equal(layout_text(&layout, text), "2 x 3 x any float32");
    layout.dims = 0;
    assert_string_equal(layout_text(&layout, text), "one float32");
    layout.dims = MANTA_ANY_DIMS;
    assert_string_equal(layout_text(&layout, text), "any shape of float32");
    layout = MANTA_LAYOUT(manta_layout, 7);
    assert_string_equal(layout_text(&layout, text), "7 struct of 80 bytes");
    layout = MANTA_LAYOUT(double, UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX - 1);
    assert_int_equal(strlen(layout_text(&layout, text)), LAYOUT_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(damaged_bytes_are_no_layout),
        cmocka_unit_test(every_element_type_has_its_size_and_nothing_else),
        cmocka_unit_test(the_types_of_c_have_their_names),
        cmocka_unit_test(who_may_read_what),
        cmocka_unit_test(what_is_reserved_has_to_be_zero),
        cmocka_unit_test(a_layout_reads_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
