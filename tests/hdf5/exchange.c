/*
 * The other side of test_h5py.py.
 *
 *     exchange write FILE              one dataset for each element type, 2 x 3, named as the type
 *     exchange read FILE DATASET...    prints each one's layout and its bytes in hexadecimal
 */
#include <manta/hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int told(int code, const manta_error *error)
{
    if (code != MANTA_OK) {
        fprintf(stderr, "%s: %s\n", manta_error_name(code), error->text);
    }
    return code != MANTA_OK;
}

#define SAVE(name, T, layout_of, ...)                                                              \
    do {                                                                                           \
        const T values[2][3] = {__VA_ARGS__};                                                      \
        const manta_layout layout = layout_of;                                                     \
        const manta_h5_place place = {.file = file, .dataset = name};                              \
        bad |= told(manta_h5_save(&place, &packed, &layout, values, &error), &error);              \
    } while (0)
#define NUMBERS(name, T) SAVE(name, T, MANTA_LAYOUT(T, 2, 3), {0, 1, 2}, {3, 4, 100})

static int write_all(const char *file)
{
    const manta_h5_options packed = {.deflate = 5, .shuffle = 1};
    manta_error error;
    int bad = 0;
    NUMBERS("int8", int8_t);
    NUMBERS("int16", int16_t);
    NUMBERS("int32", int32_t);
    NUMBERS("group/int64", int64_t);
    NUMBERS("uint8", uint8_t);
    NUMBERS("uint16", uint16_t);
    NUMBERS("uint32", uint32_t);
    NUMBERS("uint64", uint64_t);
    NUMBERS("float32", float);
    NUMBERS("float64", double);
    NUMBERS("complex64", float _Complex);
    NUMBERS("complex128", double _Complex);
    SAVE("bool", bool, MANTA_LAYOUT(bool, 2, 3), {true, false, true}, {false, false, true});
    SAVE("float16", uint16_t, MANTA_LAYOUT(manta_float16, 2, 3), {0, 0x3c00, 0x4000},
         {0x4200, 0x4400, 0x5640});
    SAVE("bfloat16", uint16_t, MANTA_LAYOUT(manta_bfloat16, 2, 3), {0, 0x3f80, 0x4000},
         {0x4040, 0x4080, 0x42c8});
    return bad;
}

static int read_one(const char *file, const char *dataset)
{
    const manta_h5_place place = {.file = file, .dataset = dataset};
    manta_layout layout;
    manta_error error;
    if (told(manta_h5_layout(&place, &layout, &error), &error)) {
        return 1;
    }
    size_t bytes = manta_layout_count(&layout) * layout.item_bytes;
    unsigned char *data = calloc(bytes + 1, 1);
    int bad = told(manta_h5_load(&place, &layout, data, &error), &error);
    printf("%s %s %u", dataset, manta_dtype_name(layout.dtype), layout.item_bytes);
    for (uint32_t i = 0; i < layout.dims; i++) {
        printf(" %llu", (unsigned long long)layout.shape[i]);
    }
    printf(" : ");
    for (size_t i = 0; i < bytes; i++) {
        printf("%02x", data[i]);
    }
    printf("\n");
    free(data);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = argc < 3;
    if (!bad && strcmp(argv[1], "write") == 0) {
        return write_all(argv[2]);
    }
    for (int i = 3; i < argc; i++) {
        bad |= read_one(argv[2], argv[i]);
    }
    return bad;
}
