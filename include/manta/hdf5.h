/*
 * HDF5 datasets to arrays and back. ISO C17 and C++17. In libmanta_hdf5, a library of its own:
 * link -lmanta_hdf5 as well.
 *
 *     manta_error error;
 *     manta_ref x;
 *     const manta_h5_place in = {.file = "run.h5", .dataset = "/fields/density"};
 *     MANTA_TRY(manta_h5_read(&in, &x, &error));             the dataset is a value, read in place
 *     ...
 *     const manta_h5_place out = {.file = "result.h5", .dataset = "/mean"};
 *     const manta_h5_options packed = {.deflate = 4, .shuffle = 1};
 *     MANTA_TRY(manta_h5_write(&out, &packed, mean, &error));
 *
 * A body that makes its result of a dataset asks for the layout, allocates, and loads:
 *
 *     MANTA_TRY(manta_h5_layout(&in, &layout, &error));
 *     void *x = manta_outv_layout(xs, &layout);
 *     MANTA_TRY(manta_h5_load(&in, &layout, x, &error));
 *
 * Element types are the same in the file and in memory, whatever the file's byte order; nothing is
 * converted. int8 to uint64, float16, bfloat16, float32 and float64 are HDF5's numbers; bool is the
 * enum and complex the compound that h5py makes of them; bytes and structs are opaque. Compounds,
 * enums and strings of fixed length are read as structs of their size in memory.
 *
 * Every function may be called from any thread, in tasks or not; HDF5 itself is not made for that,
 * so calls of one process come one after the other. A program that calls HDF5 beside this library
 * must not do so at the same time. ret_error may be NULL; on failure it names the file, the
 * dataset, what was found and what the system said. Blocks for as long as the input or output
 * takes.
 */
#ifndef MANTA_HDF5_H
#define MANTA_HDF5_H

#include <manta/manta.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is meant: a dataset, or a hyperslab of one. */
typedef struct manta_h5_place {
    const char *file;
    const char *dataset;    /* its path, "/group/name" */
    const uint64_t *start;  /* of the slab, one for each of the dataset's extents; NULL: at 0 */
    const uint64_t *count;  /* of the slab: its shape; NULL: all that is behind start */
    const uint64_t *stride; /* from one to the next of the slab; NULL: 1 */
    const void *mpi_comm; /* address of an MPI_Comm whose processes all make this call, each with a
                             * slab of its own: parallel HDF5; NULL: this process alone */
    uint64_t reserved[2];
} manta_h5_place;

/* How a dataset is made. All zero: in one piece, not compressed. */
typedef struct manta_h5_options {
    const uint64_t
        *extents;          /* of a dataset that a slab is written to and that may not be there yet;
                              * NULL: the layout's own */
    const uint64_t *chunk; /* shape of a chunk; NULL: chosen if it is compressed */
    uint32_t deflate;      /* 1 to 9; 0: not compressed */
    uint32_t shuffle;      /* 1: bytes of the same weight together, which compresses better */
    uint64_t reserved[2];
} manta_h5_options;

/* The layout that a dataset or its slab has in memory. MANTA_E_NOTFOUND: no such file or dataset;
 * MANTA_E_TYPE: elements of a type that no array has; MANTA_E_INVALID: the slab is not inside;
 * MANTA_E_SYSTEM: what HDF5 said. */
MANTA_API int manta_h5_layout(const manta_h5_place *place, manta_layout *ret_layout,
                              manta_error *ret_error);
/* Reads a dataset or its slab into memory of the program's own. `layout` says what is expected: its
 * element type must be the dataset's (MANTA_E_TYPE), and it must have as many elements. Codes as of
 * manta_h5_layout. */
MANTA_API int manta_h5_load(const manta_h5_place *place, const manta_layout *layout, void *data,
                            manta_error *ret_error);
/*
 * Writes elements from memory. File, groups and dataset are made if they are not there; a
 * dataset that is there must have this element type (MANTA_E_TYPE) and shape, or the slab inside
 * (MANTA_E_INVALID). options may be NULL. A file that was made by a call which then failed is
 * removed. MANTA_E_LIMIT: the disk is full; MANTA_E_SYSTEM: what HDF5 said.
 */
MANTA_API int manta_h5_save(const manta_h5_place *place, const manta_h5_options *options,
                            const manta_layout *layout, const void *data, manta_error *ret_error);

/* A dataset or its slab as a value, read where the node's ranks will read it. Codes as of
 * manta_h5_layout and manta_put_begin. */
MANTA_API int manta_h5_read(const manta_h5_place *place, manta_ref *ret_ref,
                            manta_error *ret_error);
/* manta_h5_save of a value, from where it lies. Waits for it. Codes as of manta_array_view too;
 * MANTA_E_TYPE: it has no layout. */
MANTA_API int manta_h5_write(const manta_h5_place *place, const manta_h5_options *options,
                             manta_ref ref, manta_error *ret_error);

#ifdef __cplusplus
}
#endif

#endif
