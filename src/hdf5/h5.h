/* Private to libmanta_hdf5: element types, and what HDF5 says when it fails. */
#ifndef HDF5_H5_H
#define HDF5_H5_H

#include <hdf5.h>
#include <manta/hdf5.h>
#include <stdbool.h>

#define H5_FIT __attribute__((format(printf, 4, 5)))

/* Fills ret_error (may be NULL): "FILE, dataset DATASET: " and the text. Returns the code. */
int h5_fail(manta_error *ret_error, const manta_h5_place *place, int code, const char *format,
            ...) H5_FIT;
/* The same with what HDF5 and the system said of the call that has just failed; the code is E_LIMIT
 * on a full disk, `code` otherwise. */
int h5_fail_said(manta_error *ret_error, const manta_h5_place *place, int code, const char *doing);

/* The type of an element in memory: owned (H5Tclose), negative when memory is out. */
hid_t h5_type_make(const manta_layout *layout);
/* Element type and size that the elements of a file have in memory; false: no array has such.
 * *ret_name says what they are then, borrowed. */
bool h5_type_find(hid_t type, manta_layout *ret_layout, const char **ret_name);
/* For reading: the type in memory for one that was found. Owned. */
hid_t h5_type_memory(hid_t type, const manta_layout *layout);

#endif
