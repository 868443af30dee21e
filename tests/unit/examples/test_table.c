/* The result table, read back with HDF5's own reader: the values, the facts beside them, and bad
 * paths. */
#include "../../folder.h"
#include "grid.h"
#include "table.h"

#include <hdf5.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[300];

static const struct table_row rows[2] = {
    {{CONTRACT_PUT, CONTRACT_EUROPEAN, 100, 95, 0.05, 0.01, 0.2, 1, 12, 1000}, 3.25, 0.01, 3.26},
    {{CONTRACT_CALL, CONTRACT_ASIAN, 90, 95, 0.02, 0, 0.4, 2, 50, 2000}, 7.5, 0.02, NAN},
};
static const struct table_facts facts = {.seed = 42, .samples = 3000, .version = "1.2.3"};

static int make_folder(void **state)
{
    if (folder_make(state)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/prices.h5", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(path);
    return rmdir(folder);
}

static void write_table(void)
{
    char text[256] = "";
    int rc = table_write(path, rows, 2, &facts, text, sizeof text);
    if (rc != 0) {
        fail_msg("%s", text);
    }
}

/* One column of the table, by name. */
static void read_column(hid_t dataset, const char *name, hid_t type, size_t bytes, void *ret_values)
{
    hid_t column = H5Tcreate(H5T_COMPOUND, bytes);
    H5Tinsert(column, name, 0, type);
    assert_true(H5Dread(dataset, column, H5S_ALL, H5S_ALL, H5P_DEFAULT, ret_values) >= 0);
    H5Tclose(column);
}

static void columns_come_back_under_their_names(void **state)
{
    double price[2], closed[2], strike[2];
    uint64_t samples[2];
    write_table();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "options", H5P_DEFAULT);
    read_column(dataset, "price", H5T_NATIVE_DOUBLE, sizeof *price, price);
    read_column(dataset, "strike", H5T_NATIVE_DOUBLE, sizeof *strike, strike);
    read_column(dataset, "black_scholes", H5T_NATIVE_DOUBLE, sizeof *closed, closed);
    read_column(dataset, "samples", H5T_NATIVE_UINT64, sizeof *samples, samples);
    assert_true(price[0] == 3.25 && price[1] == 7.5 && strike[0] == 95 && strike[1] == 95);
    assert_true(closed[0] == 3.26 && isnan(closed[1]));
    assert_int_equal(samples[1], 2000);
    H5Dclose(dataset);
    H5Fclose(file);
}

static void kinds_and_styles_are_named(void **state)
{
    char name[16];
    write_table();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "options", H5P_DEFAULT);
    hid_t row = H5Dget_type(dataset);
    hid_t kind = H5Tget_member_type(row, (unsigned)H5Tget_member_index(row, "kind"));
    assert_true(H5Tenum_nameof(kind, &rows[0].contract.kind, name, sizeof name) >= 0);
    assert_string_equal(name, "put");
    hid_t style = H5Tget_member_type(row, (unsigned)H5Tget_member_index(row, "style"));
    assert_true(H5Tenum_nameof(style, &rows[1].contract.style, name, sizeof name) >= 0);
    assert_string_equal(name, "asian");
    H5Tclose(style);
    H5Tclose(kind);
    H5Tclose(row);
    H5Dclose(dataset);
    H5Fclose(file);
}

static void read_attribute(hid_t dataset, const char *name, hid_t type, void *ret_value)
{
    hid_t attribute = H5Aopen(dataset, name, H5P_DEFAULT);
    assert_true(attribute >= 0);
    assert_true(H5Aread(attribute, type, ret_value) >= 0);
    H5Aclose(attribute);
}

static void facts_stand_beside_the_table(void **state)
{
    uint64_t seed = 0, samples = 0;
    char version[6] = "", units[GRID_COLUMNS + 3][16];
    write_table();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "options", H5P_DEFAULT);
    hid_t text = H5Tcopy(H5T_C_S1);
    read_attribute(dataset, "seed", H5T_NATIVE_UINT64, &seed);
    read_attribute(dataset, "samples", H5T_NATIVE_UINT64, &samples);
    H5Tset_size(text, sizeof version);
    read_attribute(dataset, "version", text, version);
    H5Tset_size(text, sizeof *units);
    read_attribute(dataset, "units", text, units);
    assert_int_equal(seed, 42);
    assert_int_equal(samples, 3000);
    assert_string_equal(version, "1.2.3");
    assert_string_equal(units[2], "currency");
    assert_string_equal(units[4], "1/year");
    assert_string_equal(units[GRID_COLUMNS], "currency");
    H5Tclose(text);
    H5Dclose(dataset);
    H5Fclose(file);
}

/* The whole file. Owned. */
static char *slurp(size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *ret_bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void the_same_table_is_the_same_bytes(void **state)
{
    size_t first_bytes, second_bytes;
    write_table();
    char *first = slurp(&first_bytes);
    sleep(2); /* a time stamp would differ */
    write_table();
    char *second = slurp(&second_bytes);
    assert_int_equal(first_bytes, second_bytes);
    assert_memory_equal(first, second, first_bytes);
    free(first);
    free(second);
}

static void what_cannot_be_written_has_a_reason_and_leaves_nothing(void **state)
{
    char text[256] = "";
    assert_int_equal(table_write("/nonexistent/x.h5", rows, 2, &facts, text, sizeof text), -1);
    assert_true(strlen(text) > 0);
    text[0] = '\0';
    assert_int_equal(table_write(folder, rows, 2, &facts, text, sizeof text), -1);
    assert_true(strlen(text) > 0);
    char part[300];
    snprintf(part, sizeof part, "%s.part", folder);
    assert_int_not_equal(access(part, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_come_back_under_their_names),
        cmocka_unit_test(kinds_and_styles_are_named),
        cmocka_unit_test(facts_stand_beside_the_table),
        cmocka_unit_test(the_same_table_is_the_same_bytes),
        cmocka_unit_test(what_cannot_be_written_has_a_reason_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
