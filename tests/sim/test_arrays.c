/*
 * Values with an element type and a shape, in virtual worlds of one and of several nodes: what
 * is known of them arrives with them, small or large, near or far; what reads them as something
 * else is told so; what is filled in place is there for all, and given back if it is forgotten.
 */
#include "chaos.h"
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STORE = 8 << 20, SMALL = 5, LARGE = 20000 };

struct point {
    double x, y, z;
};

/* Two columns: the index and its double. */
static void fill(double *x, uint64_t rows)
{
    for (uint64_t i = 0; i < rows; i++) {
        x[2 * i] = (double)i;
        x[2 * i + 1] = 2 * (double)i;
    }
}

static manta_ref put_rows(uint64_t rows)
{
    double *x = malloc(rows * 2 * sizeof *x);
    fill(x, rows);
    manta_ref ref = manta_put_array(double, x, rows, 2);
    free(x);
    return ref;
}

MANTA_TASK(make_rows, val(uint64_t, rows), outv(double, xs))
{
    double *x = manta_outv_array(double, xs, rows, 2);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    fill(x, rows);
    return MANTA_OK;
}

/* The shape, and the sum of the second column. */
MANTA_TASK(measure, in(double, xs), out(manta_layout, layout), out(double, sum))
{
    MANTA_TRY(manta_layout_of(xs, layout));
    for (uint64_t i = 0; i < xs_len / 2; i++) {
        *sum += xs[2 * i + 1];
    }
    return MANTA_OK;
}

MANTA_TASK(negate, inout(double, xs))
{
    manta_layout layout;
    MANTA_TRY(manta_layout_of(xs, &layout));
    for (size_t i = 0; i < xs_len; i++) {
        xs[i] = -xs[i];
    }
    return layout.shape[0] * layout.shape[1] == xs_len ? MANTA_OK : MANTA_E_TYPE;
}

MANTA_TASK(look_at, ref(xs), val(uint64_t, rows))
{
    manta_array array;
    MANTA_TRY(manta_view_array(double, xs, &array, rows, 2));
    MANTA_TRY(array.count == 2 * rows ? MANTA_OK : MANTA_E_TYPE);
    return manta_unview(xs);
}

MANTA_TASK(read_ints, in(int32_t, numbers), out(size_t, count))
{
    *count = numbers_len;
    return MANTA_OK;
}

MANTA_TASK(read_points, in(struct point, points), out(size_t, count))
{
    *count = points_len;
    return MANTA_OK;
}

MANTA_TASK(read_raw, in(char, bytes), out(size_t, count))
{
    *count = bytes_len;
    return MANTA_OK;
}

MANTA_TASK(read_doubles, in(double, xs), out(size_t, count))
{
    manta_layout layout;
    *count = xs_len;
    return manta_layout_of(xs, &layout) == MANTA_E_NOTFOUND ? MANTA_OK : MANTA_E_STATE;
}

static int measured_everywhere(manta_ref xs, uint64_t rows, double sign)
{
    for (uint32_t reader = 0; reader < world_size(); reader++) {
        const manta_options on = {.rank = MANTA_ON(reader)};
        manta_layout layout;
        double sum;
        CHECK(measure_get(measure_async(&on, xs), &layout, &sum) == MANTA_OK);
        CHECK(layout.dtype == MANTA_DTYPE_FLOAT64 && layout.item_bytes == 8 && layout.dims == 2);
        CHECK(layout.shape[0] == rows && layout.shape[1] == 2 && layout.shape[2] == 0);
        CHECK(sum == sign * (double)rows * (double)(rows - 1));
        CHECK(look_at_get(look_at_async(&on, xs, rows)) == MANTA_OK);
    }
    return 0;
}

static int a_shape_arrives_with_the_value(int argc, char **argv)
{
    const uint64_t sizes[] = {1, SMALL, LARGE};
    for (int i = 0; i < 3; i++) {
        uint64_t rows = sizes[i];
        CHECK(measured_everywhere(put_rows(rows), rows, 1) == 0);
        for (uint32_t maker = 0; maker < world_size(); maker++) {
            const manta_options on = {.rank = MANTA_ON(maker)};
            CHECK(measured_everywhere(make_rows_async(&on, rows), rows, 1) == 0);
            CHECK(measured_everywhere(negate_async(&on, put_rows(rows)), rows, -1) == 0);
        }
    }
    return 0;
}

static int without_a_layout_there_is_none(int argc, char **argv)
{
    double x[SMALL * 2];
    size_t count;
    manta_array array;
    fill(x, SMALL);
    manta_ref xs = manta_put(x, sizeof x);
    CHECK(read_doubles_get(read_doubles_async(NULL, xs), &count) == MANTA_OK && count == SMALL * 2);
    CHECK(manta_array_view(xs, NULL, &array) == MANTA_OK && array.count == sizeof x);
    CHECK(array.layout.dtype == MANTA_DTYPE_NONE && manta_unview(xs) == MANTA_OK);
    CHECK(manta_view_array(double, xs, &array) == MANTA_OK && array.count == SMALL * 2);
    CHECK(manta_unview(xs) == MANTA_OK);
    CHECK(manta_view_array(struct point, xs, &array) == MANTA_E_TYPE &&
          error_says("80 bytes and no layout"));
    return 0;
}

static int another_type_is_refused_with_both_names(int argc, char **argv)
{
    const uint64_t sizes[] = {SMALL, LARGE};
    for (int i = 0; i < 2; i++) {
        manta_ref xs = put_rows(sizes[i]);
        const double *unread;
        size_t count;
        CHECK(read_ints_get(read_ints_async(NULL, xs), &count) == MANTA_E_TYPE);
        CHECK(error_says("numbers is read as int32_t (int32, 4 bytes each)") &&
              error_says("x 2 float64"));
        CHECK(strcmp(manta_last_error()->task, "read_ints") == 0 && manta_last_error()->line);
        CHECK(read_points_get(read_points_async(NULL, xs), &count) == MANTA_E_TYPE);
        CHECK(error_says("points is read as struct point (a struct, 24 bytes each)"));
        CHECK(read_raw_get(read_raw_async(NULL, xs), &count) == MANTA_OK && count == sizes[i] * 16);
        const float one = 1;
        manta_ref floats = manta_put_array(float, &one, 1, 1);
        CHECK(negate_get(negate_async(NULL, floats), &unread, &count) == MANTA_E_TYPE);
        CHECK(error_says(
            "xs is read as double (float64, 8 bytes each), but its value is 1 x 1 float32"));
        manta_ref map = manta_map(&read_ints_function, NULL, &(manta_slot){&xs, 1}, 3);
        CHECK(manta_map_get(map, (size_t[3]){0}, sizeof(size_t), 3, NULL) == MANTA_E_TYPE);
        CHECK(error_says("numbers is read as int32_t"));
    }
    return 0;
}

static int a_view_says_what_it_found(int argc, char **argv)
{
    manta_ref xs = put_rows(SMALL);
    manta_array array;
    double y[SMALL * 2];
    const void *data;
    size_t bytes;
    CHECK(manta_view_array(double, xs, &array, MANTA_ANY, 2) == MANTA_OK &&
          array.count == SMALL * 2);
    CHECK(((const double *)array.data)[3] == 2 && manta_unview(xs) == MANTA_OK);
    CHECK(manta_view_array(float, xs, &array) == MANTA_E_TYPE);
    CHECK(error_says("the value is 5 x 2 float64; any shape of float32 was asked for"));
    CHECK(manta_view_array(double, xs, &array, MANTA_ANY, 3) == MANTA_E_TYPE);
    CHECK(error_says("the value is 5 x 2 float64; any x 3 float64 was asked for"));
    CHECK(manta_view_array(double, xs, &array, 10) == MANTA_E_TYPE &&
          error_says("; 10 float64 was"));
    CHECK(manta_view(xs, &data, &bytes) == MANTA_OK && bytes == sizeof y);
    CHECK(manta_unview(xs) == MANTA_OK && manta_get(xs, y, sizeof y) == MANTA_OK && y[9] == 8);
    CHECK(manta_get(xs, y, sizeof y - 8) == MANTA_E_TYPE);
    CHECK(manta_array_view(xs, NULL, NULL) == MANTA_E_INVALID && error_says("ret_array"));
    const double *nothing = NULL;
    manta_ref refused = manta_put_array(double, nothing, 3);
    CHECK(refused.parent == 0 && refused.position == 0 && error_says("data is NULL"));
    return 0;
}

MANTA_TASK(wrong_result, outv(double, xs))
{
    if (manta_outv_array(float, xs, 3)) {
        return MANTA_OK;
    }
    return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
}

static int a_result_has_its_parameters_type(int argc, char **argv)
{
    const double *data;
    size_t count;
    CHECK(wrong_result_get(wrong_result_async(NULL), &data, &count) == MANTA_E_TYPE);
    CHECK(error_says("elements of type float64, 8 bytes each, not 3 float32"));
    return 0;
}

static int what_is_filled_in_place_is_there_for_all(int argc, char **argv)
{
    const uint64_t sizes[] = {0, SMALL, LARGE};
    for (int i = 0; i < 3; i++) {
        manta_room room;
        double *x = manta_put_alloc(double, &room, sizes[i], 2);
        CHECK(x != NULL && x == room.data);
        fill(x, sizes[i]);
        manta_ref xs = manta_put_end(room);
        CHECK(measured_everywhere(xs, sizes[i], 1) == 0);
    }
    const manta_layout plain = {.item_bytes = 1, .dims = 1, .shape = {LARGE * 8}};
    manta_room room;
    static double s[LARGE];
    CHECK(manta_put_begin(&plain, &room) == MANTA_OK);
    memset(room.data, 0, LARGE * 8);
    CHECK(manta_get(manta_put_end(room), s, sizeof s) == MANTA_OK && s[LARGE - 1] == 0);
    return 0;
}

/* What is wrong in a program shows here that the room is the value: a write to it after its end is
 * seen. */
static int a_large_room_is_the_value_and_no_copy(int argc, char **argv)
{
    manta_room room;
    manta_array array;
    volatile double *x = manta_put_alloc(double, &room, LARGE, 2);
    CHECK(x != NULL && (uintptr_t)x % 64 == 0);
    x[0] = 1;
    manta_ref xs = manta_put_end(room);
    CHECK(manta_view_array(double, xs, &array) == MANTA_OK);
    CHECK(((const volatile double *)array.data)[0] == 1);
    x[0] = 2;
    CHECK(((const volatile double *)array.data)[0] == 2);
    return 0;
}

static int a_room_is_used_once(int argc, char **argv)
{
    const uint64_t sizes[] = {SMALL, LARGE};
    for (int i = 0; i < 2; i++) {
        manta_room first, second, other;
        CHECK(manta_put_alloc(double, &first, sizes[i], 2) != NULL);
        CHECK(manta_put_alloc(double, &second, sizes[i], 2) != NULL);
        other = first;
        fill(first.data, sizes[i]);
        manta_ref xs = manta_put_end(first);
        CHECK(xs.parent != 0);
        CHECK(manta_put_end(other).parent == 0 && manta_last_error()->code == MANTA_E_STATE);
        CHECK(error_says("ended or given up before") && manta_put_abandon(first) == MANTA_E_STATE);
        CHECK(manta_put_abandon(second) == MANTA_OK);
        CHECK(manta_put_abandon(second) == MANTA_E_STATE && manta_put_end(second).parent == 0);
        CHECK(look_at_get(look_at_async(NULL, xs, sizes[i])) == MANTA_OK);
    }
    return 0;
}

MANTA_TASK(forgetful, val(uint64_t, rows))
{
    manta_room room;
    return manta_put_alloc(double, &room, rows, 2) ? MANTA_OK : manta_last_error()->code;
}

static int what_is_forgotten_is_given_back_with_its_scope(int argc, char **argv)
{
    enum { HALF = STORE / 2 / 16 };
    manta_room outer, inner;
    for (uint32_t i = 0; i < 6; i++) { /* more than fits at once */
        const manta_options on = {.rank = MANTA_ON(i % world_size())};
        CHECK(forgetful_get(forgetful_async(&on, HALF)) == MANTA_OK);
    }
    CHECK(manta_put_alloc(double, &outer, SMALL, 2) != NULL);
    for (int i = 0; i < 4; i++) {
        CHECK(manta_scope_begin() == MANTA_OK);
        CHECK(manta_put_alloc(double, &inner, HALF, 2) != NULL);
        CHECK(manta_scope_end() == MANTA_OK);
        CHECK(manta_put_end(inner).parent == 0 &&
              error_says("scope in which it was begun has ended"));
    }
    fill(outer.data, SMALL);
    CHECK(look_at_get(look_at_async(NULL, manta_put_end(outer), SMALL)) == MANTA_OK);
    CHECK(manta_put_alloc(double, &outer, HALF, 2) != NULL); /* the driver's end gives it back */
    return 0;
}

static int a_bad_layout_is_named(int argc, char **argv)
{
    manta_room room = {NULL, 0};
    manta_layout layout = {.dtype = MANTA_DTYPE_FLOAT64, .item_bytes = 4, .dims = 1, .shape = {3}};
    CHECK(manta_put_begin(&layout, &room) == MANTA_E_INVALID && error_says("float64"));
    layout.item_bytes = 8;
    layout.dims = 9;
    CHECK(manta_put_begin(&layout, &room) == MANTA_E_INVALID &&
          error_says("at most 8 extents, not 9"));
    layout.dims = 2;
    layout.shape[0] = layout.shape[1] = UINT64_C(1) << 40;
    CHECK(manta_put_begin(&layout, &room) == MANTA_E_TOOBIG && error_says("extent 1"));
    layout.shape[1] = 1;
    CHECK(manta_put_begin(&layout, &room) == MANTA_E_TOOBIG && error_says("MANTA_STORE"));
    CHECK(manta_put_begin(NULL, &room) == MANTA_E_INVALID && error_says("layout is NULL"));
    CHECK(manta_put_begin(&layout, NULL) == MANTA_E_INVALID && error_says("ret_room is NULL"));
    CHECK(room.data == NULL && manta_put_abandon(room) == MANTA_E_STATE);
    CHECK(manta_layout_of(&room, &layout) == MANTA_E_NOTFOUND);
    return 0;
}

#define EACH_DRIVER(X)                                                                             \
    X(a_shape_arrives_with_the_value)                                                              \
    X(without_a_layout_there_is_none)                                                              \
    X(another_type_is_refused_with_both_names)                                                     \
    X(a_view_says_what_it_found)                                                                   \
    X(a_result_has_its_parameters_type)                                                            \
    X(what_is_filled_in_place_is_there_for_all)                                                    \
    X(a_large_room_is_the_value_and_no_copy)                                                       \
    X(a_room_is_used_once)                                                                         \
    X(what_is_forgotten_is_given_back_with_its_scope)                                              \
    X(a_bad_layout_is_named)

#define TEST(driver)                                                                               \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        world_on_nodes("arrays", driver, STORE, 8);                                                \
    }
EACH_DRIVER(TEST)

int main(void)
{
#define LISTED(driver) {#driver, test_##driver, NULL, NULL, NULL},
    const struct CMUnitTest tests[] = {EACH_DRIVER(LISTED)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
