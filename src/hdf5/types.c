/*
 * Element types of Manta and of HDF5.
 *
 * In a file a type counts by what it means, not by its bits: a big-endian double is a float64.
 * Types that HDF5 has no name for are written as h5py writes them, so that Python reads them as
 * what they are: half floats by their fields, bool as an enum of two, complex as a compound of r
 * and i.
 */
#include "h5.h"

#include <string.h>

struct float_fields {
    uint32_t dtype;
    size_t exponent_at, exponent_bits, mantissa_bits;
};

static const struct float_fields floats[] = {{MANTA_DTYPE_FLOAT16, 10, 5, 10},
                                             {MANTA_DTYPE_BFLOAT16, 7, 8, 7},
                                             {MANTA_DTYPE_FLOAT32, 23, 8, 23},
                                             {MANTA_DTYPE_FLOAT64, 52, 11, 52}};

/* ---- To HDF5 -------------------------------------------------------------------------------- */

/* What two bytes hold: the sign, then exponent and mantissa as given. */
static hid_t make_short_float(const struct float_fields *fields)
{
    hid_t type = H5Tcopy(H5T_NATIVE_FLOAT);
    size_t bias = ((size_t)1 << (fields->exponent_bits - 1)) - 1;
    H5Tset_fields(type, 15, fields->exponent_at, fields->exponent_bits, 0, fields->mantissa_bits);
    H5Tset_size(type, 2);
    H5Tset_ebias(type, bias);
    return type;
}

static hid_t make_bool(void)
{
    hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    const int8_t no = 0, yes = 1;
    H5Tenum_insert(type, "FALSE", &no);
    H5Tenum_insert(type, "TRUE", &yes);
    return type;
}

static hid_t make_complex(hid_t part)
{
    size_t bytes = H5Tget_size(part);
    hid_t type = H5Tcreate(H5T_COMPOUND, 2 * bytes);
    H5Tinsert(type, "r", 0, part);
    H5Tinsert(type, "i", bytes, part);
    return type;
}

static hid_t make_bytes(size_t bytes)
{
    hid_t type = H5Tcreate(H5T_OPAQUE, bytes);
    H5Tset_tag(type, "");
    return type;
}

static hid_t number_type(uint32_t dtype)
{
    switch (dtype) {
    case MANTA_DTYPE_INT8:
        return H5T_NATIVE_INT8;
    case MANTA_DTYPE_INT16:
        return H5T_NATIVE_INT16;
    case MANTA_DTYPE_INT32:
        return H5T_NATIVE_INT32;
    case MANTA_DTYPE_INT64:
        return H5T_NATIVE_INT64;
    case MANTA_DTYPE_UINT8:
        return H5T_NATIVE_UINT8;
    case MANTA_DTYPE_UINT16:
        return H5T_NATIVE_UINT16;
    case MANTA_DTYPE_UINT32:
        return H5T_NATIVE_UINT32;
    case MANTA_DTYPE_UINT64:
        return H5T_NATIVE_UINT64;
    case MANTA_DTYPE_FLOAT32:
        return H5T_NATIVE_FLOAT;
    default:
        return H5T_NATIVE_DOUBLE;
    }
}

hid_t h5_type_make(const manta_layout *layout)
{
    switch (layout->dtype) {
    case MANTA_DTYPE_BYTES:
        return make_bytes(layout->item_bytes);
    case MANTA_DTYPE_BOOL:
        return make_bool();
    case MANTA_DTYPE_FLOAT16:
        return make_short_float(&floats[0]);
    case MANTA_DTYPE_BFLOAT16:
        return make_short_float(&floats[1]);
    case MANTA_DTYPE_COMPLEX64:
        return make_complex(H5T_NATIVE_FLOAT);
    case MANTA_DTYPE_COMPLEX128:
        return make_complex(H5T_NATIVE_DOUBLE);
    default:
        return H5Tcopy(number_type(layout->dtype));
    }
}

/* ---- From HDF5 ------------------------------------------------------------------------------ */

static uint32_t find_integer(hid_t type)
{
    size_t bytes = H5Tget_size(type);
    uint32_t first = H5Tget_sign(type) == H5T_SGN_NONE ? MANTA_DTYPE_UINT8 : MANTA_DTYPE_INT8;
    switch (bytes) {
    case 1:
        return first;
    case 2:
        return first + 1;
    case 4:
        return first + 2;
    case 8:
        return first + 3;
    default:
        return MANTA_DTYPE_NONE;
    }
}

static uint32_t find_float(hid_t type)
{
    size_t sign, at, bits, mantissa_at, mantissa;
    if (H5Tget_fields(type, &sign, &at, &bits, &mantissa_at, &mantissa) < 0) {
        return MANTA_DTYPE_NONE;
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        if (floats[i].exponent_at == at && floats[i].exponent_bits == bits &&
            floats[i].mantissa_bits == mantissa &&
            H5Tget_size(type) == manta_dtype_bytes(floats[i].dtype)) {
            return floats[i].dtype;
        }
    }
    return MANTA_DTYPE_NONE;
}

static bool has_member(hid_t type, unsigned index, const char *name)
{
    char *is = H5Tget_member_name(type, index);
    bool same = is && strcmp(is, name) == 0;
    H5free_memory(is);
    return same;
}

static uint32_t find_part(hid_t type, unsigned index)
{
    hid_t part = H5Tget_member_type(type, index);
    uint32_t dtype = H5Tget_class(part) == H5T_FLOAT ? find_float(part) : MANTA_DTYPE_NONE;
    H5Tclose(part);
    return dtype;
}

/* r and i of one float type; NONE: another compound. */
static uint32_t find_complex(hid_t type)
{
    if (H5Tget_nmembers(type) != 2 || !has_member(type, 0, "r") || !has_member(type, 1, "i") ||
        find_part(type, 0) != find_part(type, 1)) {
        return MANTA_DTYPE_NONE;
    }
    uint32_t part = find_part(type, 0);
    return part == MANTA_DTYPE_FLOAT32   ? MANTA_DTYPE_COMPLEX64
           : part == MANTA_DTYPE_FLOAT64 ? MANTA_DTYPE_COMPLEX128
                                         : MANTA_DTYPE_NONE;
}

static bool is_bool(hid_t type)
{
    return H5Tget_size(type) == 1 && H5Tget_nmembers(type) == 2 && has_member(type, 0, "FALSE") &&
           has_member(type, 1, "TRUE");
}

/* A struct: the size that it has in this processor's memory. */
static bool find_struct(hid_t type, manta_layout *layout)
{
    hid_t native = H5Tget_native_type(type, H5T_DIR_ASCEND);
    layout->dtype = MANTA_DTYPE_BYTES;
    layout->item_bytes = native < 0 ? 0 : (uint32_t)H5Tget_size(native);
    if (native >= 0) {
        H5Tclose(native);
    }
    return layout->item_bytes != 0;
}

static bool is_variable(hid_t type)
{
    return H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tdetect_class(type, H5T_REFERENCE) > 0 ||
           H5Tis_variable_str(type) > 0;
}

static const char *class_name(hid_t type)
{
    switch (H5Tget_class(type)) {
    case H5T_STRING:
        return "strings of variable length";
    case H5T_VLEN:
        return "sequences of variable length";
    case H5T_REFERENCE:
        return "references";
    case H5T_COMPOUND:
        return "compounds with members of variable length";
    case H5T_FLOAT:
        return "floating-point numbers of a rare format";
    case H5T_INTEGER:
        return "integers of a rare size";
    default:
        return "elements of a class that no array has";
    }
}

bool h5_type_find(hid_t type, manta_layout *ret_layout, const char **ret_name)
{
    H5T_class_t class = H5Tget_class(type);
    uint32_t dtype = class == H5T_INTEGER                 ? find_integer(type)
                     : class == H5T_FLOAT                 ? find_float(type)
                     : class == H5T_COMPOUND              ? find_complex(type)
                     : class == H5T_ENUM && is_bool(type) ? MANTA_DTYPE_BOOL
                                                          : MANTA_DTYPE_NONE;
    bool is_number = class == H5T_INTEGER || class == H5T_FLOAT;
    *ret_name = class_name(type);
    ret_layout->dtype = dtype;
    ret_layout->item_bytes = manta_dtype_bytes(dtype);
    if (dtype != MANTA_DTYPE_NONE) {
        return true;
    }
    return !is_number && !is_variable(type) && find_struct(type, ret_layout);
}

hid_t h5_type_memory(hid_t type, const manta_layout *layout)
{
    return layout->dtype == MANTA_DTYPE_BYTES ? H5Tget_native_type(type, H5T_DIR_ASCEND)
                                              : h5_type_make(layout);
}
