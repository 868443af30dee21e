/*
 * libmanta_hdf5 on real files, in a world of one: every element type comes back as it was; slabs,
 * chunks and filters; many tasks at once; and each mistake is named with what was given.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../folder.h"

#include <hdf5.h>
#include <manta/hdf5.h>

#include <cmocka.h>

static char path[300]; /* a file that is not there yet */
static manta_error error;

static int start(void **state)
{
    const manta_config config = {.workers = 4};
    return folder_make(state) == 0 && manta_init(&config) == MANTA_OK ? 0 : -1;
}

static int stop(void **state)
{
    return manta_fini() == MANTA_OK && rmdir(folder) == 0 ? 0 : -1;
}

static int fresh(void **state)
{
    snprintf(path, sizeof path, "%s/file.h5", folder);
    error = (manta_error){.code = 0};
    return 0;
}

static int remove_file(void **state)
{
    unlink(path);
    return 0;
}

static manta_h5_place at(const char *dataset)
{
    return (manta_h5_place){.file = path, .dataset = dataset};
}

static void assert_ok(int code)
{
    if (code != MANTA_OK) {
        fail_msg("%s: %s", manta_error_name(code), error.text);
    }
}

static void assert_says(int code, int expected, const char *text)
{
    if (code != expected || error.code != expected || !strstr(error.text, text)) {
        fail_msg("%s: \"%s\", not %s with \"%s\"", manta_error_name(code), error.text,
                 manta_error_name(expected), text);
    }
}

static void every_element_type_comes_back_as_it_was(void **state)
{
    uint8_t bytes[6 * 24], back[6 * 24];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + 1) & 0x3f; /* no NaN, no subnormal exponent pattern lost */
    }
    for (uint32_t dtype = MANTA_DTYPE_BYTES; dtype <= MANTA_DTYPE_COMPLEX128; dtype++) {
        uint32_t size = manta_dtype_bytes(dtype) ? manta_dtype_bytes(dtype) : 24;
        const manta_layout layout = {
            .dtype = dtype, .item_bytes = size, .dims = 2, .shape = {2, 3}};
        const manta_h5_place place = at(manta_dtype_name(dtype));
        manta_layout found;
        if (dtype == MANTA_DTYPE_BOOL) {
            memcpy(bytes, "\1\0\0\1\1\0", 6);
        }
        assert_ok(manta_h5_save(&place, NULL, &layout, bytes, &error));
        assert_ok(manta_h5_layout(&place, &found, &error));
        assert_memory_equal(&found, &layout, sizeof found);
        memset(back, 0xaa, sizeof back);
        assert_ok(manta_h5_load(&place, &found, back, &error));
        assert_memory_equal(back, bytes, 6 * size);
    }
}

static void put_numbers(const char *dataset, const manta_h5_options *options, uint64_t rows,
                        uint64_t columns)
{
    manta_room room;
    double *x = manta_put_alloc(double, &room, rows, columns);
    assert_non_null(x);
    for (uint64_t i = 0; i < rows * columns; i++) {
        x[i] = (double)i;
    }
    manta_ref ref = manta_put_end(room);
    const manta_h5_place place = at(dataset);
    assert_ok(manta_h5_write(&place, options, ref, &error));
    assert_int_equal(manta_drop(ref), MANTA_OK);
}

static void a_value_goes_to_a_file_and_comes_back_in_place(void **state)
{
    const manta_h5_place place = at("/deep/below/x");
    manta_array array;
    manta_ref ref;
    put_numbers(place.dataset, NULL, 300, 100);
    assert_ok(manta_h5_read(&place, &ref, &error));
    assert_int_equal(manta_view_array(double, ref, &array, 300, 100), MANTA_OK);
    assert_int_equal((uintptr_t)array.data % 64, 0);
    for (size_t i = 0; i < array.count; i++) {
        assert_true(((const double *)array.data)[i] == (double)i);
    }
    assert_int_equal(manta_unview(ref), MANTA_OK);
    put_numbers(place.dataset, NULL, 300, 100); /* over it */
}

static hsize_t stored_bytes(const char *dataset, int *ret_filters, hsize_t *ret_chunk)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t id = H5Dopen2(file, dataset, H5P_DEFAULT), list = H5Dget_create_plist(id);
    hsize_t bytes = H5Dget_storage_size(id);
    *ret_filters = H5Pget_nfilters(list);
    if (H5Pget_layout(list) == H5D_CHUNKED) {
        H5Pget_chunk(list, 2, ret_chunk);
    }
    H5Pclose(list);
    H5Dclose(id);
    H5Fclose(file);
    return bytes;
}

static void what_is_compressed_is_smaller_and_the_same(void **state)
{
    const uint64_t chunk[] = {50, 100};
    const manta_h5_options packed = {.deflate = 6, .shuffle = 1},
                           tiled = {.deflate = 1, .chunk = chunk};
    hsize_t found[2] = {0, 0};
    int filters;
    put_numbers("plain", NULL, 3000, 100);
    assert_int_equal(stored_bytes("plain", &filters, found), 3000 * 100 * 8);
    assert_int_equal(filters, 0);
    put_numbers("packed", &packed, 3000, 100);
    assert_in_range(stored_bytes("packed", &filters, found), 1, 3000 * 100 * 2);
    assert_int_equal(filters, 2);
    assert_in_range(found[0] * found[1] * 8, 1 << 18, 1 << 20);
    put_numbers("tiled", &tiled, 3000, 100);
    assert_in_range(stored_bytes("tiled", &filters, found), 1, 3000 * 100 * 4);
    assert_int_equal(found[0], 50);
    for (int i = 0; i < 2; i++) {
        const manta_h5_place place = at(i ? "tiled" : "packed");
        static double x[3000 * 100];
        const manta_layout layout = MANTA_LAYOUT(double, 3000, 100);
        assert_ok(manta_h5_load(&place, &layout, x, &error));
        for (int k = 0; k < 3000 * 100; k++) {
            assert_true(x[k] == k);
        }
    }
}

static void a_slab_is_read_and_written_alone(void **state)
{
    const uint64_t start[] = {2, 1}, count[] = {3, 2}, stride[] = {2, 3}, whole[] = {10, 6};
    double x[6], all[60];
    const manta_layout small = MANTA_LAYOUT(double, 3, 2), large = MANTA_LAYOUT(double, 10, 6);
    manta_h5_place place = at("x"), slab = place;
    manta_layout found;
    slab.start = start;
    slab.count = count;
    slab.stride = stride;
    put_numbers("x", NULL, 10, 6);
    assert_ok(manta_h5_layout(&slab, &found, &error));
    assert_memory_equal(&found, &small, sizeof small);
    assert_ok(manta_h5_load(&slab, &small, x, &error));
    for (int i = 0; i < 6; i++) {
        assert_true(x[i] == (2 + i / 2 * 2) * 6 + 1 + i % 2 * 3);
        x[i] = -1;
    }
    assert_ok(manta_h5_save(&slab, NULL, &small, x, &error));
    assert_ok(manta_h5_load(&place, &large, all, &error));
    int changed = 0;
    for (int i = 0; i < 60; i++) {
        bool is_in = i / 6 >= 2 && i / 6 <= 6 && i / 6 % 2 == 0 && (i % 6 == 1 || i % 6 == 4);
        assert_true(all[i] == (is_in ? -1 : i));
        changed += is_in;
    }
    assert_int_equal(changed, 6);
    slab.count = slab.stride = NULL; /* the rest */
    assert_ok(manta_h5_layout(&slab, &found, &error));
    assert_int_equal(found.shape[0], 8);
    assert_int_equal(found.shape[1], 5);
    slab.dataset = "new";
    const manta_h5_options options = {.extents = whole};
    assert_ok(manta_h5_save(&slab, &options, &small, x, &error));
    slab.count = count;
    assert_ok(manta_h5_load(&slab, &small, all, &error));
    assert_memory_equal(all, x, sizeof x);
}

MANTA_TASK(load_row, text(file), val(uint64_t, row), outv(double, xs))
{
    manta_error said;
    const uint64_t start[] = {row, 0}, count[] = {1, 100};
    const manta_h5_place place = {.file = file, .dataset = "x", .start = start, .count = count};
    manta_layout layout;
    if (manta_h5_layout(&place, &layout, &said) != MANTA_OK) {
        return manta_fail(said.code, "%s", said.text);
    }
    void *x = manta_outv_layout(xs, &layout);
    return x ? manta_h5_load(&place, &layout, x, NULL) : MANTA_E_NOMEM;
}

static void tasks_read_at_the_same_time(void **state)
{
    manta_ref rows[200];
    put_numbers("x", NULL, 200, 100);
    for (uint64_t i = 0; i < 200; i++) {
        rows[i] = load_row_async(NULL, path, i);
    }
    for (uint64_t i = 0; i < 200; i++) {
        manta_array array;
        assert_int_equal(manta_view_array(double, rows[i], &array, 1, 100), MANTA_OK);
        assert_true(((const double *)array.data)[99] == (double)(i * 100 + 99));
    }
    const double *unread;
    size_t count;
    assert_int_equal(load_row_get(load_row_async(NULL, path, 200), &unread, &count),
                     MANTA_E_INVALID);
    assert_non_null(strstr(manta_last_error()->text, "extent 0 is 200"));
}

static void what_is_not_there_is_named(void **state)
{
    manta_h5_place place = at("nowhere");
    manta_layout layout;
    manta_ref ref;
    assert_says(manta_h5_layout(&place, &layout, &error), MANTA_E_NOTFOUND,
                "file.h5, dataset nowhere");
    assert_says(manta_h5_layout(&place, &layout, &error), MANTA_E_NOTFOUND, "No such file");
    put_numbers("x", NULL, 2, 2);
    assert_says(manta_h5_read(&place, &ref, &error), MANTA_E_NOTFOUND, "no such dataset");
    assert_int_equal(manta_h5_read(&place, &ref, NULL), MANTA_E_NOTFOUND);
    place.dataset = NULL;
    assert_says(manta_h5_read(&place, &ref, &error), MANTA_E_INVALID, "no dataset");
    place.file = NULL;
    assert_says(manta_h5_read(&place, &ref, &error), MANTA_E_INVALID, "no file");
    place = at("x");
    place.mpi_comm = &place;
    assert_says(manta_h5_read(&place, &ref, &error), MANTA_E_STATE, "libmanta_hdf5_mpi");
}

static void what_is_no_hdf5_file_is_named(void **state)
{
    const manta_h5_place place = at("x");
    manta_layout layout;
    FILE *file = fopen(path, "w");
    fputs("no such thing", file);
    fclose(file);
    assert_says(manta_h5_layout(&place, &layout, &error), MANTA_E_SYSTEM, "cannot be opened");
    layout = MANTA_LAYOUT(double, 2);
    assert_says(manta_h5_save(&place, NULL, &layout, folder, &error), MANTA_E_SYSTEM,
                "cannot be opened for writing");
    assert_int_equal(access(path, F_OK), 0); /* not ours to remove */
}

static void another_type_or_shape_is_named(void **state)
{
    float x[4] = {0};
    const uint64_t start[] = {1, 1}, count[] = {2, 1}, chunk[] = {3, 1};
    manta_h5_place place = at("x");
    manta_layout layout = MANTA_LAYOUT(float, 2, 2);
    put_numbers("x", NULL, 2, 2);
    assert_says(manta_h5_load(&place, &layout, x, &error), MANTA_E_TYPE,
                "float64 of 8 bytes; the memory is for float32 of 4");
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_TYPE,
                "float64 of 8 bytes; the value is float32 of 4");
    layout = MANTA_LAYOUT(double, 2);
    assert_says(manta_h5_load(&place, &layout, x, &error), MANTA_E_TYPE,
                "4 elements; the memory is for 2");
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_INVALID,
                "2 extents, the value 1");
    layout = MANTA_LAYOUT(double, 2, 1);
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_INVALID,
                "extent 1 is 2, the value's 1");
    place.start = start;
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_INVALID,
                "extent 0 is 2: no 2 elements from 1 on, 1 apart");
    place.count = start;
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_INVALID, "count[0] is 1");
    place.count = count;
    assert_says(manta_h5_layout(&place, &layout, &error), MANTA_E_INVALID, "extent 0 is 2");
    place.dataset = "absent";
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_NOTFOUND,
                "options.extents");
    place = at("/x/below");
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_SYSTEM, "cannot be made");
    place = at("other");
    const manta_h5_options bad_chunk = {.chunk = chunk}, bad_deflate = {.deflate = 10};
    assert_says(manta_h5_save(&place, &bad_chunk, &layout, x, &error), MANTA_E_INVALID,
                "chunk[0] is 3");
    assert_says(manta_h5_save(&place, &bad_deflate, &layout, x, &error), MANTA_E_INVALID,
                "deflate is 10");
    manta_ref plain = manta_put(x, sizeof x);
    assert_says(manta_h5_write(&place, NULL, plain, &error), MANTA_E_TYPE, "no layout");
}

static void strings_of_any_length_are_refused(void **state)
{
    const manta_h5_place place = at("words");
    manta_layout layout;
    hid_t file = H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    H5Dclose(H5Dcreate2(file, "words", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Tclose(type);
    H5Fclose(file);
    assert_says(manta_h5_layout(&place, &layout, &error), MANTA_E_TYPE,
                "strings of variable length");
}

static void where_nothing_can_be_written_is_named(void **state)
{
    const manta_layout layout = MANTA_LAYOUT(double, 2);
    const manta_h5_place no_folder = {.file = "/proc/self/nothing.h5", .dataset = "x"};
    const double x[2] = {1, 2};
    int code = manta_h5_save(&no_folder, NULL, &layout, x, &error);
    assert_true(code == MANTA_E_SYSTEM || code == MANTA_E_NOTFOUND);
    assert_non_null(strstr(error.text, "/proc/self/nothing.h5"));
    if (geteuid() == 0) {
        return; /* root may write everywhere */
    }
    const manta_h5_place place = at("x");
    assert_int_equal(chmod(folder, 0500), 0);
    code = manta_h5_save(&place, NULL, &layout, x, &error);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_says(code, MANTA_E_SYSTEM, "Permission denied");
}

/* A file system of 1 MiB. In one piece: of a chunk that it cannot write HDF5 1.10 loses the memory.
 */
static void a_full_disk_is_named_and_nothing_is_left(void **state)
{
    const manta_layout layout = MANTA_LAYOUT(double, 1 << 19), small = MANTA_LAYOUT(double, 2);
    char disk[300], file[320];
    double *x = calloc(1 << 19, sizeof *x);
    snprintf(disk, sizeof disk, "%s/disk", folder);
    snprintf(file, sizeof file, "%s/full.h5", disk);
    assert_int_equal(mkdir(disk, 0700), 0);
    if (mount("none", disk, "tmpfs", 0, "size=1m") != 0) {
        rmdir(disk);
        free(x);
        skip(); /* not root */
    }
    const manta_h5_place place = {.file = file, .dataset = "x"};
    assert_says(manta_h5_save(&place, NULL, &layout, x, &error), MANTA_E_LIMIT,
                "No space left on device");
    assert_int_equal(access(file, F_OK), -1);
    assert_ok(manta_h5_save(&place, NULL, &small, x, &error));
    free(x);
    assert_int_equal(umount2(disk, MNT_DETACH), 0);
    rmdir(disk);
}

static herr_t count_reports(hid_t stack, void *arg)
{
    ++*(int *)arg;
    return 0;
}

static void the_programs_own_reports_of_hdf5_stay(void **state)
{
    const manta_h5_place place = at("x");
    manta_layout layout;
    int reports = 0;
    H5E_auto2_t before;
    void *before_arg;
    H5Eget_auto2(H5E_DEFAULT, &before, &before_arg);
    H5Eset_auto2(H5E_DEFAULT, count_reports, &reports);
    assert_int_equal(manta_h5_layout(&place, &layout, &error), MANTA_E_NOTFOUND);
    assert_int_equal(reports, 0);
    assert_true(H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT) < 0);
    assert_int_equal(reports, 1);
    H5Eset_auto2(H5E_DEFAULT, before, before_arg);
}

static void scalars_and_empty_arrays_have_their_shapes(void **state)
{
    const manta_layout one = {.dtype = MANTA_DTYPE_INT32, .item_bytes = 4};
    const manta_layout none = MANTA_LAYOUT(int32_t, 3, 0);
    const manta_h5_place scalar = at("one"), empty = at("none");
    manta_layout found;
    manta_ref ref;
    int32_t x = 7, y = 0;
    assert_ok(manta_h5_save(&scalar, NULL, &one, &x, &error));
    assert_ok(manta_h5_read(&scalar, &ref, &error));
    assert_int_equal(manta_get(ref, &y, sizeof y), MANTA_OK);
    assert_int_equal(y, 7);
    assert_ok(manta_h5_save(&empty, NULL, &none, &x, &error));
    assert_ok(manta_h5_layout(&empty, &found, &error));
    assert_memory_equal(&found, &none, sizeof none);
    assert_ok(manta_h5_read(&empty, &ref, &error));
    assert_int_equal(manta_get(ref, NULL, 0), MANTA_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_element_type_comes_back_as_it_was),
        TEST(a_value_goes_to_a_file_and_comes_back_in_place),
        TEST(what_is_compressed_is_smaller_and_the_same),
        TEST(a_slab_is_read_and_written_alone),
        TEST(tasks_read_at_the_same_time),
        TEST(what_is_not_there_is_named),
        TEST(what_is_no_hdf5_file_is_named),
        TEST(another_type_or_shape_is_named),
        TEST(strings_of_any_length_are_refused),
        TEST(where_nothing_can_be_written_is_named),
        TEST(a_full_disk_is_named_and_nothing_is_left),
        TEST(the_programs_own_reports_of_hdf5_stay),
        TEST(scalars_and_empty_arrays_have_their_shapes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
