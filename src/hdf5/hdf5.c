/*
 * Datasets to memory and back.
 *
 * HDF5 as Debian and most sites build it is not thread-safe, and tasks run on many threads: one
 * lock of this library is around every stretch of calls, never around anything that may wait for
 * another task. The program's own way of hearing HDF5's errors is put aside for that long, so that
 * an error here is reported once, as a record. Chunks are written past HDF5's cache: each is
 * complete when it is, and one that a full disk refuses is not tried again at the program's end.
 *
 * With a communicator the file is opened by all its processes together (parallel HDF5), and the
 * same calls are collective. That needs a build against a parallel HDF5 (libmanta_hdf5_mpi).
 */
#include "h5.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 20 };

/* What one call has open; negative: not. */
struct session {
    const manta_h5_place *place;
    manta_error *error;
    hid_t access, transfer, uncached, file, dataset, space, type;
    bool is_new_file;
    H5E_auto2_t report; /* the program's */
    void *report_arg;
};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER; /* all calls of HDF5 */

/* ---- Beginning and end ---------------------------------------------------------------------- */

static int make_lists(struct session *session)
{
    session->access = H5Pcreate(H5P_FILE_ACCESS);
    session->transfer = H5Pcreate(H5P_DATASET_XFER);
    session->uncached = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(session->uncached, 0, 0, H5D_CHUNK_CACHE_W0_DEFAULT);
    if (!session->place->mpi_comm) {
        return MANTA_OK;
    }
#ifdef H5_HAVE_PARALLEL
    H5Pset_fapl_mpio(session->access, *(const MPI_Comm *)session->place->mpi_comm, MPI_INFO_NULL);
    H5Pset_dxpl_mpio(session->transfer, H5FD_MPIO_COLLECTIVE);
    return MANTA_OK;
#else
    return h5_fail(session->error, session->place, MANTA_E_STATE,
                   "mpi_comm is given, but this HDF5 is serial: link libmanta_hdf5_mpi");
#endif
}

/* Takes the lock: end() follows, whatever comes. */
static int begin(struct session *session, const manta_h5_place *place, manta_error *ret_error)
{
    *session = (struct session){place, ret_error, -1, -1, -1, -1, -1, -1, -1, false, NULL, NULL};
    pthread_mutex_lock(&guard);
    H5open();
    H5Eget_auto2(H5E_DEFAULT, &session->report, &session->report_arg);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (!place->file || !place->dataset || !place->dataset[0]) {
        return h5_fail(ret_error, place, MANTA_E_INVALID, "the place has no %s",
                       place->file ? "dataset" : "file");
    }
    return make_lists(session);
}

/* What HDF5 could not write it tries again at the close, and for ever at the program's end: with
 * the file emptied there is room for it. */
static void give_up_new_file(const struct session *session)
{
    (void)!truncate(session->place->file, 0);
    unlink(session->place->file);
}

static int end(struct session *session, int code)
{
    if (code != MANTA_OK && session->is_new_file && !session->place->mpi_comm) {
        give_up_new_file(session);
    }
    if (session->type >= 0) {
        H5Tclose(session->type);
    }
    if (session->space >= 0) {
        H5Sclose(session->space);
    }
    if (session->dataset >= 0 && H5Dclose(session->dataset) < 0 && code == MANTA_OK) {
        code = h5_fail_said(session->error, session->place, MANTA_E_SYSTEM, "it cannot be closed");
    }
    if (session->file >= 0 && H5Fclose(session->file) < 0 && code == MANTA_OK) {
        code = h5_fail_said(session->error, session->place, MANTA_E_SYSTEM, "it cannot be closed");
    }
    H5Pclose(session->access);
    H5Pclose(session->transfer);
    H5Pclose(session->uncached);
    H5Eset_auto2(H5E_DEFAULT, session->report, session->report_arg);
    pthread_mutex_unlock(&guard);
    return code;
}

/* ---- What there is -------------------------------------------------------------------------- */

/* Element type and extents of the open dataset. */
static int inspect(struct session *session, manta_layout *ret_extents)
{
    const char *name;
    session->type = H5Dget_type(session->dataset);
    session->space = H5Dget_space(session->dataset);
    *ret_extents = (manta_layout){.dtype = 0};
    if (!h5_type_find(session->type, ret_extents, &name)) {
        return h5_fail(session->error, session->place, MANTA_E_TYPE, "it holds %s", name);
    }
    int dims = H5Sget_simple_extent_ndims(session->space);
    if (dims < 0 || dims > MANTA_DIMS_MAX ||
        H5Sget_simple_extent_type(session->space) == H5S_NULL) {
        return h5_fail(session->error, session->place, MANTA_E_TYPE,
                       "it has %d extents; an array has one to %d", dims, MANTA_DIMS_MAX);
    }
    hsize_t extents[MANTA_DIMS_MAX];
    H5Sget_simple_extent_dims(session->space, extents, NULL);
    ret_extents->dims = (uint32_t)dims;
    for (int i = 0; i < dims; i++) {
        ret_extents->shape[i] = extents[i];
    }
    return MANTA_OK;
}

static int open_for_reading(struct session *session, manta_layout *ret_extents)
{
    const manta_h5_place *place = session->place;
    session->file = H5Fopen(place->file, H5F_ACC_RDONLY, session->access);
    if (session->file < 0) {
        return h5_fail_said(session->error, place, MANTA_E_SYSTEM, "the file cannot be opened");
    }
    session->dataset = H5Dopen2(session->file, place->dataset, H5P_DEFAULT);
    if (session->dataset < 0) {
        return h5_fail_said(session->error, place, MANTA_E_NOTFOUND, "no such dataset");
    }
    return inspect(session, ret_extents);
}

/* One extent of a slab; `count` may be NULL. False: it is not inside. */
static bool fit_extent(uint64_t extent, uint64_t start, uint64_t stride, const uint64_t *count,
                       uint64_t *ret_count)
{
    if (start > extent || stride == 0) {
        return false;
    }
    uint64_t room = (extent - start) / stride + ((extent - start) % stride != 0);
    *ret_count = count ? *count : room;
    return *ret_count <= room;
}

/* Makes the place's slab the dataset's selection. `count` (NULL: all) is its shape. */
static int select_slab(struct session *session, const uint64_t *count, manta_layout *layout)
{
    const manta_h5_place *place = session->place;
    hsize_t starts[MANTA_DIMS_MAX], strides[MANTA_DIMS_MAX], counts[MANTA_DIMS_MAX];
    for (uint32_t i = 0; i < layout->dims; i++) {
        uint64_t extent = layout->shape[i];
        starts[i] = place->start ? place->start[i] : 0;
        strides[i] = place->stride ? place->stride[i] : 1;
        if (!fit_extent(extent, starts[i], strides[i], count ? &count[i] : NULL,
                        &layout->shape[i])) {
            return h5_fail(session->error, place, MANTA_E_INVALID,
                           "extent %u is %llu: no %llu elements from %llu on, %llu apart", i,
                           (unsigned long long)extent, (unsigned long long)(count ? count[i] : 1),
                           (unsigned long long)starts[i], (unsigned long long)strides[i]);
        }
        counts[i] = layout->shape[i];
    }
    herr_t rc = manta_layout_count(layout) == 0 ? H5Sselect_none(session->space)
                : layout->dims ? H5Sselect_hyperslab(session->space, H5S_SELECT_SET, starts,
                                                     strides, counts, NULL)
                               : 0;
    return rc < 0 ? h5_fail_said(session->error, place, MANTA_E_INVALID, "the slab") : MANTA_OK;
}

static hid_t make_space(const manta_layout *layout)
{
    hsize_t extents[MANTA_DIMS_MAX];
    for (uint32_t i = 0; i < layout->dims; i++) {
        extents[i] = layout->shape[i];
    }
    return layout->dims ? H5Screate_simple((int)layout->dims, extents, NULL)
                        : H5Screate(H5S_SCALAR);
}

static int compare_types(struct session *session, const manta_layout *found,
                         const manta_layout *expected, const char *what)
{
    if (found->dtype == expected->dtype && found->item_bytes == expected->item_bytes) {
        return MANTA_OK;
    }
    return h5_fail(session->error, session->place, MANTA_E_TYPE,
                   "it holds %s of %u bytes; the %s %s of %u bytes", manta_dtype_name(found->dtype),
                   found->item_bytes, what, manta_dtype_name(expected->dtype),
                   expected->item_bytes);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

/* Of the selection, to or from `data`: exactly one of them is not NULL. */
static int move(struct session *session, const manta_layout *layout, void *in, const void *out)
{
    uint64_t count = manta_layout_count(layout);
    hid_t type = h5_type_memory(session->type, layout);
    hid_t space = make_space(&(manta_layout){.dims = 1, .shape = {count ? count : 1}});
    char none[1];
    herr_t rc;
    if (!count) {
        H5Sselect_none(space);
    }
    if (in || !out) {
        rc = H5Dread(session->dataset, type, space, session->space, session->transfer,
                     count ? in : none);
    } else {
        rc = H5Dwrite(session->dataset, type, space, session->space, session->transfer, out);
    }
    int code = MANTA_OK;
    if (rc < 0 || (out && H5Fflush(session->file, H5F_SCOPE_LOCAL) < 0)) {
        code = h5_fail_said(session->error, session->place, MANTA_E_SYSTEM,
                            in ? "reading" : "writing");
    }
    H5Sclose(space);
    H5Tclose(type);
    return code;
}

int manta_h5_layout(const manta_h5_place *place, manta_layout *ret_layout, manta_error *ret_error)
{
    struct session session;
    manta_layout layout;
    int code = begin(&session, place, ret_error);
    code = code ? code : open_for_reading(&session, &layout);
    code = code ? code : select_slab(&session, place->count, &layout);
    code = end(&session, code);
    if (code == MANTA_OK) {
        *ret_layout = layout;
    }
    return code;
}

int manta_h5_load(const manta_h5_place *place, const manta_layout *layout, void *data,
                  manta_error *ret_error)
{
    struct session session;
    manta_layout found;
    int code = begin(&session, place, ret_error);
    code = code ? code : open_for_reading(&session, &found);
    code = code ? code : compare_types(&session, &found, layout, "memory is for");
    code = code ? code : select_slab(&session, place->count, &found);
    if (code == MANTA_OK && manta_layout_count(&found) != manta_layout_count(layout)) {
        code = h5_fail(ret_error, place, MANTA_E_TYPE,
                       "there are %llu elements; the memory is for %llu",
                       (unsigned long long)manta_layout_count(&found),
                       (unsigned long long)manta_layout_count(layout));
    }
    code = code ? code : move(&session, &found, data, NULL);
    return end(&session, code);
}

/* ---- Making --------------------------------------------------------------------------------- */

/* Opens the file, or makes it if there is none. */
static int open_for_writing(struct session *session)
{
    const manta_h5_place *place = session->place;
    if (access(place->file, F_OK) != 0 && errno == ENOENT) {
        session->file = H5Fcreate(place->file, H5F_ACC_EXCL, H5P_DEFAULT, session->access);
        session->is_new_file = session->file >= 0;
    } else {
        session->file = H5Fopen(place->file, H5F_ACC_RDWR, session->access);
    }
    return session->file < 0 ? h5_fail_said(session->error, place, MANTA_E_SYSTEM,
                                            "the file cannot be opened for writing")
                             : MANTA_OK;
}

/* Every step of the path. */
static bool has_dataset(hid_t file, const char *dataset)
{
    char path[1024];
    size_t length = strlen(dataset);
    if (length >= sizeof path) {
        return false;
    }
    for (size_t i = 1; i <= length; i++) {
        if (dataset[i] != '/' && dataset[i] != '\0') {
            continue;
        }
        memcpy(path, dataset, i);
        path[i] = '\0';
        if (H5Lexists(file, path, H5P_DEFAULT) <= 0) {
            return false;
        }
    }
    return true;
}

/* The whole, its slowest extents halved until a chunk is small enough. */
static void choose_chunk(const manta_layout *extents, hsize_t *chunk)
{
    uint64_t bytes = extents->item_bytes;
    for (uint32_t i = 0; i < extents->dims; i++) {
        chunk[i] = extents->shape[i] ? extents->shape[i] : 1;
        bytes *= chunk[i];
    }
    for (uint32_t i = 0; i < extents->dims && bytes > CHUNK_BYTES; i++) {
        while (chunk[i] > 1 && bytes > CHUNK_BYTES) {
            bytes = bytes / chunk[i] * ((chunk[i] + 1) / 2);
            chunk[i] = (chunk[i] + 1) / 2;
        }
    }
}

static void set_storage(hid_t list, const manta_h5_options *options, const manta_layout *extents)
{
    hsize_t chunk[MANTA_DIMS_MAX];
    if (!extents->dims || (!options->chunk && !options->deflate && !options->shuffle)) {
        return;
    }
    choose_chunk(extents, chunk);
    for (uint32_t i = 0; options->chunk && i < extents->dims; i++) {
        chunk[i] = options->chunk[i];
    }
    H5Pset_chunk(list, (int)extents->dims, chunk);
    if (options->shuffle) {
        H5Pset_shuffle(list);
    }
    if (options->deflate) {
        H5Pset_deflate(list, options->deflate);
    }
}

static int check_options(struct session *session, const manta_h5_options *options,
                         const manta_layout *extents)
{
    for (uint32_t i = 0; options->chunk && i < extents->dims; i++) {
        if (!options->chunk[i] || options->chunk[i] > extents->shape[i]) {
            return h5_fail(session->error, session->place, MANTA_E_INVALID,
                           "chunk[%u] is %llu, the extent %llu", i,
                           (unsigned long long)options->chunk[i],
                           (unsigned long long)extents->shape[i]);
        }
    }
    return options->deflate <= 9 ? MANTA_OK
                                 : h5_fail(session->error, session->place, MANTA_E_INVALID,
                                           "deflate is %u, not 0 to 9", options->deflate);
}

static int create_dataset(struct session *session, const manta_h5_options *options,
                          const manta_layout *extents)
{
    hid_t type = h5_type_make(extents), space = make_space(extents);
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    set_storage(storage, options, extents);
    session->dataset = H5Dcreate2(session->file, session->place->dataset, type, space, links,
                                  storage, session->uncached);
    int code = session->dataset < 0 ? h5_fail_said(session->error, session->place, MANTA_E_SYSTEM,
                                                   "the dataset cannot be made")
                                    : MANTA_OK;
    H5Pclose(links);
    H5Pclose(storage);
    H5Sclose(space);
    H5Tclose(type);
    return code;
}

static bool is_slab(const manta_h5_place *place)
{
    return place->start || place->count || place->stride;
}

static int make_dataset(struct session *session, const manta_h5_options *options,
                        const manta_layout *layout)
{
    manta_layout extents = *layout;
    if (is_slab(session->place) && !options->extents) {
        return h5_fail(session->error, session->place, MANTA_E_NOTFOUND,
                       "there is no such dataset; options.extents says how large to make it");
    }
    for (uint32_t i = 0; options->extents && i < layout->dims; i++) {
        extents.shape[i] = options->extents[i];
    }
    int code = check_options(session, options, &extents);
    return code ? code : create_dataset(session, options, &extents);
}

/* The dataset, as it was or new, with the place selected. */
static int prepare(struct session *session, const manta_h5_options *options,
                   const manta_layout *layout)
{
    const manta_h5_place *place = session->place;
    manta_layout found;
    int code = MANTA_OK;
    if (has_dataset(session->file, place->dataset)) {
        session->dataset = H5Dopen2(session->file, place->dataset, session->uncached);
        code = session->dataset < 0
                   ? h5_fail_said(session->error, place, MANTA_E_TYPE, "it is no dataset")
                   : MANTA_OK;
    } else {
        code = make_dataset(session, options, layout);
    }
    code = code ? code : inspect(session, &found);
    code = code ? code : compare_types(session, &found, layout, "value is");
    if (code == MANTA_OK && found.dims != layout->dims) {
        code = h5_fail(session->error, place, MANTA_E_INVALID, "it has %u extents, the value %u",
                       found.dims, layout->dims);
    }
    for (uint32_t i = 0; code == MANTA_OK && !is_slab(place) && i < found.dims; i++) {
        if (found.shape[i] != layout->shape[i]) {
            code = h5_fail(
                session->error, place, MANTA_E_INVALID, "its extent %u is %llu, the value's %llu",
                i, (unsigned long long)found.shape[i], (unsigned long long)layout->shape[i]);
        }
    }
    return code ? code : select_slab(session, layout->shape, &found);
}

int manta_h5_save(const manta_h5_place *place, const manta_h5_options *options,
                  const manta_layout *layout, const void *data, manta_error *ret_error)
{
    const manta_h5_options plain = {.extents = NULL};
    struct session session;
    options = options ? options : &plain;
    int code = begin(&session, place, ret_error);
    for (uint32_t i = 0; code == MANTA_OK && place->count && i < layout->dims; i++) {
        if (place->count[i] != layout->shape[i]) {
            code = h5_fail(
                ret_error, place, MANTA_E_INVALID, "count[%u] is %llu, the value's extent %llu", i,
                (unsigned long long)place->count[i], (unsigned long long)layout->shape[i]);
        }
    }
    code = code ? code : open_for_writing(&session);
    code = code ? code : prepare(&session, options, layout);
    code = code ? code : move(&session, layout, NULL, data);
    return end(&session, code);
}

/* ---- Values --------------------------------------------------------------------------------- */

static int fail_as_last(manta_error *ret_error, const manta_h5_place *place)
{
    const manta_error *last = manta_last_error();
    return h5_fail(ret_error, place, last->code, "%s", last->text);
}

int manta_h5_read(const manta_h5_place *place, manta_ref *ret_ref, manta_error *ret_error)
{
    manta_layout layout;
    manta_room room;
    int code = manta_h5_layout(place, &layout, ret_error);
    if (code != MANTA_OK) {
        return code;
    }
    if (manta_put_begin(&layout, &room) != MANTA_OK) {
        return fail_as_last(ret_error, place);
    }
    code = manta_h5_load(place, &layout, room.data, ret_error);
    if (code != MANTA_OK) {
        (void)manta_put_abandon(room);
        return code;
    }
    manta_ref ref = manta_put_end(room);
    if (!ref.parent) {
        return fail_as_last(ret_error, place);
    }
    *ret_ref = ref;
    return MANTA_OK;
}

int manta_h5_write(const manta_h5_place *place, const manta_h5_options *options, manta_ref ref,
                   manta_error *ret_error)
{
    manta_array array;
    if (manta_array_view(ref, NULL, &array) != MANTA_OK) {
        return fail_as_last(ret_error, place);
    }
    int code =
        array.layout.dtype == MANTA_DTYPE_NONE
            ? h5_fail(ret_error, place, MANTA_E_TYPE,
                      "the value has no layout: make it with manta_put_array, manta_put_alloc "
                      "or manta_outv_array")
            : manta_h5_save(place, options, &array.layout, array.data, ret_error);
    (void)manta_unview(ref);
    return code;
}
