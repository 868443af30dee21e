/*
 * Contexts, buffers and staging, for any device.
 *
 * A copy between the node's memory and the device goes through two pinned pieces in turn: while the
 * device moves one, the processor fills or empties the other. (A store's blocks are shared by all
 * ranks and come and go; registering each of them with the driver would cost more than it saves.)
 *
 * A buffer is known by a number in its context's list, so a second free is an error and not a
 * corruption, and what was forgotten goes with the context. One that is shared stays until it is
 * unshared.
 *
 * One lock per context, never held while this library waits for a value.
 */
#include "gpu.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)4 << 20)

enum state { OWNED, SHARED, MAPPED, ALIAS }; /* alias: an opening of this context's own */

struct buffer {
    struct buffer *next;
    uint64_t id;
    void *device;
    enum state state;
    uint64_t of; /* ALIAS: the id of the shared one */
    unsigned aliases;
};

struct manta_gpu {
    pthread_mutex_t lock;
    void *driver;
    void *pieces[GPU_MARKS]; /* NULL until the first copy */
    struct buffer *buffers;
    uint64_t serial;
    char text[256];
};

static int fail(manta_gpu *gpu, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(manta_gpu *gpu, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(gpu->text, sizeof gpu->text, format, args);
    va_end(args);
    return code;
}

static int fail_said(manta_gpu *gpu, int code, const char *doing)
{
    return fail(gpu, code, "%s: %s", doing, gpu_driver.reason());
}

static int unlock(manta_gpu *gpu, int code)
{
    pthread_mutex_unlock(&gpu->lock);
    return code;
}

/* ---- Contexts ------------------------------------------------------------------------------- */

int manta_gpu_count(void)
{
    return gpu_driver.count();
}

int manta_gpu_create(int device, manta_gpu **ret_gpu)
{
    if (device < 0 || device >= gpu_driver.count()) {
        return MANTA_E_NOTFOUND;
    }
    manta_gpu *gpu = calloc(1, sizeof *gpu);
    int code = gpu ? gpu_driver.open(device, &gpu->driver) : MANTA_E_NOMEM;
    if (code != MANTA_OK) {
        free(gpu);
        return code;
    }
    pthread_mutex_init(&gpu->lock, NULL);
    *ret_gpu = gpu;
    return MANTA_OK;
}

static void release(manta_gpu *gpu, const struct buffer *buffer)
{
    if (buffer->state == MAPPED) {
        gpu_driver.unmap(gpu->driver, buffer->device);
    } else if (buffer->state != ALIAS) {
        gpu_driver.give(gpu->driver, buffer->device);
    }
}

void manta_gpu_destroy(manta_gpu *gpu)
{
    if (!gpu) {
        return;
    }
    while (gpu->buffers) {
        struct buffer *buffer = gpu->buffers;
        gpu->buffers = buffer->next;
        release(gpu, buffer);
        free(buffer);
    }
    for (unsigned i = 0; i < GPU_MARKS; i++) {
        if (gpu->pieces[i]) {
            gpu_driver.give_pinned(gpu->driver, gpu->pieces[i]);
        }
    }
    gpu_driver.close(gpu->driver);
    pthread_mutex_destroy(&gpu->lock);
    free(gpu);
}

const char *manta_gpu_error(const manta_gpu *gpu)
{
    return gpu->text;
}

void *manta_gpu_stream(const manta_gpu *gpu)
{
    return gpu_driver.stream(gpu->driver);
}

/* ---- Buffers -------------------------------------------------------------------------------- */

static struct buffer **find(manta_gpu *gpu, uint64_t id)
{
    struct buffer **at = &gpu->buffers;
    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    if (!*at) {
        (void)fail(gpu, MANTA_E_STATE,
                   "the buffer is none of this context's: it was freed before, or never made");
    }
    return at;
}

/* Enters a buffer that has been made. */
static int enter(manta_gpu *gpu, struct buffer made, const manta_layout *layout,
                 manta_gpu_buffer *ret_buffer)
{
    struct buffer *buffer = malloc(sizeof *buffer);
    if (!buffer) {
        release(gpu, &made);
        return fail(gpu, MANTA_E_NOMEM, "no memory for another buffer");
    }
    *buffer = made;
    buffer->id = ++gpu->serial;
    buffer->next = gpu->buffers;
    gpu->buffers = buffer;
    *ret_buffer =
        (manta_gpu_buffer){buffer->device, manta_layout_count(layout), *layout, buffer->id};
    return MANTA_OK;
}

static int measure(manta_gpu *gpu, const manta_layout *layout, size_t *ret_bytes)
{
    size_t bytes = layout ? layout->item_bytes : 0;
    bool is_bad = !bytes || layout->dims > MANTA_DIMS_MAX;
    for (uint32_t i = 0; !is_bad && i < layout->dims; i++) {
        is_bad = __builtin_mul_overflow(bytes, layout->shape[i], &bytes);
    }
    *ret_bytes = bytes;
    return is_bad ? fail(gpu, MANTA_E_INVALID,
                         layout ? "the layout has elements of %u bytes and %u extents, or too many "
                                  "bytes to count"
                                : "layout is NULL",
                         layout ? layout->item_bytes : 0, layout ? layout->dims : 0)
                  : MANTA_OK;
}

/* The lock is held. */
static int allocate(manta_gpu *gpu, const manta_layout *layout, manta_gpu_buffer *ret_buffer,
                    size_t *ret_bytes)
{
    struct buffer made = {.state = OWNED};
    int code = measure(gpu, layout, ret_bytes);
    if (code != MANTA_OK) {
        return code;
    }
    code = gpu_driver.take(gpu->driver, *ret_bytes ? *ret_bytes : 1, &made.device);
    return code == MANTA_OK
               ? enter(gpu, made, layout, ret_buffer)
               : fail(gpu, code, "%zu bytes on the device: %s", *ret_bytes, gpu_driver.reason());
}

int manta_gpu_alloc(manta_gpu *gpu, const manta_layout *layout, manta_gpu_buffer *ret_buffer)
{
    size_t bytes;
    pthread_mutex_lock(&gpu->lock);
    return unlock(gpu, allocate(gpu, layout, ret_buffer, &bytes));
}

static int check_free(manta_gpu *gpu, const struct buffer *buffer)
{
    if (!buffer) {
        return MANTA_E_STATE;
    }
    return buffer->state == SHARED
               ? fail(gpu, MANTA_E_STATE, "the buffer is shared: manta_gpu_unshare it first")
               : MANTA_OK;
}

/* The lock is held. */
static int drop(manta_gpu *gpu, uint64_t id)
{
    struct buffer **at = find(gpu, id), *buffer = *at;
    int code = check_free(gpu, buffer);
    if (code != MANTA_OK) {
        return code;
    }
    *at = buffer->next;
    if (buffer->state == ALIAS) {
        struct buffer *of = *find(gpu, buffer->of);
        of->aliases--;
    }
    release(gpu, buffer);
    free(buffer);
    return MANTA_OK;
}

int manta_gpu_free(manta_gpu *gpu, manta_gpu_buffer *buffer)
{
    pthread_mutex_lock(&gpu->lock);
    int code = drop(gpu, buffer->id);
    if (code == MANTA_OK) {
        *buffer = (manta_gpu_buffer){.id = 0};
    }
    return unlock(gpu, code);
}

/* ---- Copies --------------------------------------------------------------------------------- */

static int make_pieces(manta_gpu *gpu)
{
    int code = MANTA_OK;
    for (unsigned i = 0; i < GPU_MARKS && code == MANTA_OK; i++) {
        if (!gpu->pieces[i]) {
            code = gpu_driver.take_pinned(gpu->driver, PIECE_BYTES, &gpu->pieces[i]);
        }
    }
    return code == MANTA_OK ? code : fail_said(gpu, code, "pinned memory");
}

static size_t piece_at(size_t bytes, size_t at)
{
    return bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
}

static int copy_in(manta_gpu *gpu, char *device, const char *data, size_t bytes)
{
    int code = MANTA_OK;
    unsigned piece = 0;
    for (size_t at = 0; at < bytes && code == MANTA_OK; at += PIECE_BYTES, piece++) {
        unsigned mark = piece % GPU_MARKS;
        size_t length = piece_at(bytes, at);
        code = piece >= GPU_MARKS ? gpu_driver.wait_mark(gpu->driver, mark) : MANTA_OK;
        if (code == MANTA_OK) {
            memcpy(gpu->pieces[mark], data + at, length);
            code =
                gpu_driver.copy(gpu->driver, device + at, gpu->pieces[mark], length, GPU_TO_DEVICE);
        }
        code = code ? code : gpu_driver.mark(gpu->driver, mark);
    }
    for (unsigned i = 0; i < GPU_MARKS && i < piece && code == MANTA_OK; i++) {
        code = gpu_driver.wait_mark(gpu->driver, i);
    }
    return code == MANTA_OK ? code : fail_said(gpu, code, "copying to the device");
}

static int ask_for(manta_gpu *gpu, const char *device, size_t bytes, size_t piece)
{
    unsigned mark = piece % GPU_MARKS;
    size_t at = piece * PIECE_BYTES;
    if (at >= bytes) {
        return MANTA_OK;
    }
    int code = gpu_driver.copy(gpu->driver, gpu->pieces[mark], device + at, piece_at(bytes, at),
                               GPU_FROM_DEVICE);
    return code ? code : gpu_driver.mark(gpu->driver, mark);
}

static int copy_out(manta_gpu *gpu, char *data, const char *device, size_t bytes)
{
    int code = ask_for(gpu, device, bytes, 0);
    for (size_t piece = 0; piece * PIECE_BYTES < bytes && code == MANTA_OK; piece++) {
        unsigned mark = piece % GPU_MARKS;
        size_t at = piece * PIECE_BYTES;
        code = ask_for(gpu, device, bytes, piece + 1);
        code = code ? code : gpu_driver.wait_mark(gpu->driver, mark);
        if (code == MANTA_OK) {
            memcpy(data + at, gpu->pieces[mark], piece_at(bytes, at));
        }
    }
    return code == MANTA_OK ? code : fail_said(gpu, code, "copying from the device");
}

int manta_gpu_load(manta_gpu *gpu, const void *data, const manta_layout *layout,
                   manta_gpu_buffer *ret_buffer)
{
    manta_gpu_buffer buffer = {.id = 0};
    size_t bytes;
    pthread_mutex_lock(&gpu->lock);
    int code = allocate(gpu, layout, &buffer, &bytes);
    if (code != MANTA_OK) {
        return unlock(gpu, code);
    }
    code = make_pieces(gpu);
    code = code ? code : copy_in(gpu, buffer.device, data, bytes);
    if (code == MANTA_OK) {
        *ret_buffer = buffer;
    } else {
        (void)drop(gpu, buffer.id);
    }
    return unlock(gpu, code);
}

int manta_gpu_store(manta_gpu *gpu, const manta_gpu_buffer *buffer, void *data)
{
    size_t bytes;
    pthread_mutex_lock(&gpu->lock);
    int code = data ? measure(gpu, &buffer->layout, &bytes)
                    : fail(gpu, MANTA_E_NOMEM, "data is NULL: there was no room for it");
    if (code == MANTA_OK && !*find(gpu, buffer->id)) {
        code = MANTA_E_STATE;
    }
    code = code ? code : make_pieces(gpu);
    code = code ? code : copy_out(gpu, data, buffer->device, bytes);
    return unlock(gpu, code);
}

/* ---- Values --------------------------------------------------------------------------------- */

/* With the lock taken for the text only: the wait came before. */
static int fail_as_last(manta_gpu *gpu)
{
    const manta_error *last = manta_last_error();
    pthread_mutex_lock(&gpu->lock);
    return unlock(gpu, fail(gpu, last->code, "%s", last->text));
}

int manta_gpu_view(manta_gpu *gpu, manta_ref ref, manta_gpu_buffer *ret_buffer)
{
    manta_array array;
    int code = MANTA_E_TYPE;
    if (manta_array_view(ref, NULL, &array) != MANTA_OK) {
        return fail_as_last(gpu);
    }
    if (array.layout.dtype != MANTA_DTYPE_NONE) {
        code = manta_gpu_load(gpu, array.data, &array.layout, ret_buffer);
    } else {
        pthread_mutex_lock(&gpu->lock);
        (void)unlock(gpu, fail(gpu, code, "the value has no layout"));
    }
    (void)manta_unview(ref);
    return code;
}

int manta_gpu_put(manta_gpu *gpu, const manta_gpu_buffer *buffer, manta_ref *ret_ref)
{
    manta_room room;
    if (manta_put_begin(&buffer->layout, &room) != MANTA_OK) {
        return fail_as_last(gpu);
    }
    int code = manta_gpu_store(gpu, buffer, room.data);
    if (code != MANTA_OK) {
        (void)manta_put_abandon(room);
        return code;
    }
    manta_ref ref = manta_put_end(room);
    if (!ref.parent) {
        return fail_as_last(gpu);
    }
    *ret_ref = ref;
    return MANTA_OK;
}

/* ---- Between the ranks of a node ------------------------------------------------------------ */

/* The lock is held. */
static int share(manta_gpu *gpu, const manta_gpu_buffer *given, manta_gpu_share_name *ret_name)
{
    struct buffer *buffer = *find(gpu, given->id);
    manta_gpu_share_name name = {
        .process = (uint64_t)getpid(), .id = given->id, .layout = given->layout};
    if (!buffer) {
        return MANTA_E_STATE;
    }
    if (buffer->state > SHARED) {
        return fail(gpu, MANTA_E_STATE, "the buffer was opened here: its maker shares it");
    }
    int code = gpu_driver.name(gpu->driver, buffer->device, name.handle);
    if (code != MANTA_OK) {
        return fail_said(gpu, code, "sharing a buffer");
    }
    gethostname(name.node, sizeof name.node - 1);
    buffer->state = SHARED;
    *ret_name = name;
    return MANTA_OK;
}

int manta_gpu_share(manta_gpu *gpu, const manta_gpu_buffer *buffer, manta_gpu_share_name *ret_name)
{
    pthread_mutex_lock(&gpu->lock);
    return unlock(gpu, share(gpu, buffer, ret_name));
}

/* The lock is held. */
static int end_share(manta_gpu *gpu, uint64_t id)
{
    struct buffer *buffer = *find(gpu, id);
    if (!buffer) {
        return MANTA_E_STATE;
    }
    if (buffer->state != SHARED) {
        return fail(gpu, MANTA_E_STATE, "the buffer is not shared");
    }
    if (buffer->aliases) {
        return fail(gpu, MANTA_E_STATE, "the buffer is open %u times in this context",
                    buffer->aliases);
    }
    buffer->state = OWNED;
    return MANTA_OK;
}

int manta_gpu_unshare(manta_gpu *gpu, const manta_gpu_buffer *buffer)
{
    pthread_mutex_lock(&gpu->lock);
    return unlock(gpu, end_share(gpu, buffer->id));
}

/* In the process that shares it a device's memory cannot be mapped again. */
static int open_own(manta_gpu *gpu, const manta_gpu_share_name *name, manta_gpu_buffer *ret_buffer)
{
    struct buffer *of = *find(gpu, name->id);
    if (!of) {
        return fail(gpu, MANTA_E_INVALID,
                    "the buffer is of this process, but of another context, or freed");
    }
    if (of->state != SHARED) {
        return fail(gpu, MANTA_E_LOST, "the buffer is not shared any more");
    }
    int code = enter(gpu, (struct buffer){.device = of->device, .state = ALIAS, .of = of->id},
                     &name->layout, ret_buffer);
    of->aliases += code == MANTA_OK;
    return code;
}

/* The lock is held. */
static int open_shared(manta_gpu *gpu, const manta_gpu_share_name *name,
                       manta_gpu_buffer *ret_buffer)
{
    char node[sizeof name->node] = "";
    struct buffer made = {.state = MAPPED};
    size_t bytes;
    int code = measure(gpu, &name->layout, &bytes);
    gethostname(node, sizeof node - 1);
    if (code == MANTA_OK && strncmp(node, name->node, sizeof node) != 0) {
        code = fail(gpu, MANTA_E_INVALID,
                    "the buffer is on %.63s, this rank on %s: pass a value (manta_gpu_put)",
                    name->node, node);
    }
    if (code != MANTA_OK || name->process == (uint64_t)getpid()) {
        return code ? code : open_own(gpu, name, ret_buffer);
    }
    code = gpu_driver.map(gpu->driver, name->handle, &made.device);
    return code == MANTA_OK ? enter(gpu, made, &name->layout, ret_buffer)
                            : fail_said(gpu, code, "opening a shared buffer");
}

int manta_gpu_open(manta_gpu *gpu, const manta_gpu_share_name *name, manta_gpu_buffer *ret_buffer)
{
    pthread_mutex_lock(&gpu->lock);
    return unlock(gpu, open_shared(gpu, name, ret_buffer));
}
