/*
 * One process writes. File locking is off because many parallel file systems refuse it
 * and nobody else knows the temporary name. HDF5 prints its errors by default; here they
 * become a text. The columns are those of the grid, from the same table, and the results.
 */
#include "table.h"
#include "grid.h"

#include <errno.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_COLUMNS 3
#define COLUMNS (GRID_COLUMNS + RESULT_COLUMNS)
#define UNIT_BYTES 16

struct column {
    const char *name;
    const char *unit;
    size_t offset;
};

static const struct column result_columns[RESULT_COLUMNS] = {
    {"price", "currency", offsetof(struct table_row, price)},
    {"std_error", "currency", offsetof(struct table_row, std_error)},
    {"black_scholes", "currency", offsetof(struct table_row, black_scholes)},
};

static hid_t choice_type(const char *zero, const char *one)
{
    hid_t type = H5Tenum_create(H5T_NATIVE_INT32);
    int32_t value = 0;
    H5Tenum_insert(type, zero, &value);
    value = 1;
    H5Tenum_insert(type, one, &value);
    return type;
}

static hid_t column_type(enum grid_type type)
{
    switch (type) {
    case GRID_KIND:
        return choice_type("call", "put");
    case GRID_STYLE:
        return choice_type("european", "asian");
    case GRID_REAL:
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    case GRID_WHOLE:
        return H5Tcopy(H5T_NATIVE_UINT64);
    }
    return H5I_INVALID_HID;
}

static hid_t row_type(void)
{
    hid_t row = H5Tcreate(H5T_COMPOUND, sizeof(struct table_row));
    for (size_t i = 0; i < GRID_COLUMNS; i++) {
        hid_t type = column_type(grid_columns[i].type);
        H5Tinsert(row, grid_columns[i].name,
                  offsetof(struct table_row, contract) + grid_columns[i].offset, type);
        H5Tclose(type);
    }
    for (size_t i = 0; i < RESULT_COLUMNS; i++) {
        H5Tinsert(row, result_columns[i].name, result_columns[i].offset, H5T_NATIVE_DOUBLE);
    }
    return row;
}

/* Attaches `value`, an array of `count` elements, or one when count is 0. Consumes the type. */
static int attach(hid_t dataset, const char *name, hid_t type, size_t count, const void *value)
{
    hsize_t length = count;
    hid_t space = count ? H5Screate_simple(1, &length, NULL) : H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(dataset, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int rc = attribute < 0 || H5Awrite(attribute, type, value) < 0 ? -1 : 0;
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    H5Sclose(space);
    H5Tclose(type);
    return rc;
}

static hid_t text_type(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    return type;
}

static int attach_units(hid_t dataset)
{
    char units[COLUMNS][UNIT_BYTES] = {{0}};
    for (size_t i = 0; i < COLUMNS; i++) {
        const char *unit =
            i < GRID_COLUMNS ? grid_columns[i].unit : result_columns[i - GRID_COLUMNS].unit;
        snprintf(units[i], UNIT_BYTES, "%s", unit);
    }
    return attach(dataset, "units", text_type(UNIT_BYTES), COLUMNS, units);
}

static int attach_facts(hid_t dataset, const struct table_facts *facts)
{
    if (attach(dataset, "seed", H5Tcopy(H5T_NATIVE_UINT64), 0, &facts->seed) != 0 ||
        attach(dataset, "samples", H5Tcopy(H5T_NATIVE_UINT64), 0, &facts->samples) != 0 ||
        attach(dataset, "antithetic", H5Tcopy(H5T_NATIVE_UINT32), 0, &facts->antithetic) != 0 ||
        attach(dataset, "version", text_type(strlen(facts->version) + 1), 0, facts->version)) {
        return -1;
    }
    return attach_units(dataset);
}

static int write_dataset(hid_t file, const struct table_row *rows, size_t count,
                         const struct table_facts *facts)
{
    hsize_t length = count;
    hid_t type = row_type();
    hid_t space = H5Screate_simple(1, &length, NULL);
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(properties, 0);
    hid_t dataset = H5Dcreate2(file, "options", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    int rc = -1;
    if (dataset >= 0) {
        rc = H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) < 0
                 ? -1
                 : attach_facts(dataset, facts);
        H5Dclose(dataset);
    }
    H5Pclose(properties);
    H5Sclose(space);
    H5Tclose(type);
    return rc;
}

static int write_file(const char *path, const struct table_row *rows, size_t count,
                      const struct table_facts *facts)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(access, 0, 1);
#endif
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    if (file < 0) {
        return -1;
    }
    int rc = write_dataset(file, rows, count, facts);
    return H5Fclose(file) < 0 ? -1 : rc;
}

struct reason {
    char *text;
    size_t size;
};

static herr_t note_reason(unsigned n, const H5E_error2_t *error, void *arg)
{
    struct reason *reason = arg;
    if (n == 0) {
        snprintf(reason->text, reason->size, "%s", error->desc);
    }
    return 0;
}

int table_write(const char *path, const struct table_row *rows, size_t count,
                const struct table_facts *facts, char *text, size_t size)
{
    char *part;
    if (asprintf(&part, "%s.part", path) < 0) {
        snprintf(text, size, "out of memory");
        return -1;
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    int rc = write_file(part, rows, count, facts);
    if (rc != 0) {
        struct reason reason = {text, size};
        snprintf(text, size, "HDF5 could not write %s", part);
        H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, &reason);
    } else if (rename(part, path) != 0) {
        snprintf(text, size, "%s", strerror(errno));
        rc = -1;
    }
    if (rc != 0) {
        unlink(part);
    }
    free(part);
    return rc;
}
