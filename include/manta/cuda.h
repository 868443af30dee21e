/*
 * Memory of a GPU as an argument and a result of tasks. ISO C17 and C++17. In libmanta_cuda, a
 * library of its own: link -lmanta_cuda as well. No CUDA header is needed here.
 *
 * A value lives in the memory of the nodes, where every rank can read it; a GPU buffer is the copy
 * of one that a task works on. manta_gpu_load brings a value to the device, manta_gpu_put makes one
 * of a device's memory; both go through pinned memory that the context keeps, in pieces that
 * overlap.
 *
 *     MANTA_TASK(scale, in(double, xs), val(double, by), outv(double, ys))
 *     {
 *         manta_gpu_buffer x;
 *         manta_layout layout;
 *         MANTA_TRY(manta_layout_of(xs, &layout));
 *         MANTA_TRY(manta_gpu_load(gpu, xs, &layout, &x));
 *         launch_scale(x.device, x.count, by);      your kernel, on the context's stream
 *         int code = manta_gpu_store(gpu, &x, manta_outv_layout(ys, &layout));
 *         manta_gpu_free(gpu, &x);
 *         return code;
 *     }
 *
 * Ranks of one node can hand a buffer on without a copy: manta_gpu_share gives a name of 64 bytes
 * and more, a plain value that travels as any `val`, and manta_gpu_open maps the buffer elsewhere.
 * The one who shares keeps it until all have closed it; a maker that dies takes it along
 * (MANTA_E_LOST at the next open).
 *
 * A context belongs to one rank; its functions may be called from any thread, and come one after
 * the other for each context. Memory that is not there, a device that is not there, and whatever
 * else the driver refuses are codes; manta_gpu_error has the sentence.
 */
#ifndef MANTA_CUDA_H
#define MANTA_CUDA_H

#include <manta/manta.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One device, a stream on it, and pinned memory. */
typedef struct manta_gpu manta_gpu;

/* Elements in a device's memory. */
typedef struct manta_gpu_buffer {
    void *device; /* its address on the device */
    size_t count; /* elements */
    manta_layout layout;
    uint64_t id; /* the library's; 0: none */
} manta_gpu_buffer;

/* The name of a shared buffer, a plain value. */
typedef struct manta_gpu_share_name {
    unsigned char handle[64];
    char node[64]; /* where it can be opened */
    uint64_t process, offset, id;
    manta_layout layout;
} manta_gpu_share_name;

/* How many devices this process can use; 0 also without a driver. Never fails. */
MANTA_API int manta_gpu_count(void);
/* Opens a device, by its number from 0. *ret_gpu is owned. MANTA_E_NOTFOUND: no such device, or no
 * driver; MANTA_E_NOMEM. */
MANTA_API int manta_gpu_create(int device, manta_gpu **ret_gpu);
/* Frees what the context still has, buffers and openings too. Accepts NULL. */
MANTA_API void manta_gpu_destroy(manta_gpu *gpu);
/* What the last call of this context that failed says. Borrowed until the next one; never NULL. */
MANTA_API const char *manta_gpu_error(const manta_gpu *gpu);
/* The context's stream, a cudaStream_t: work on it comes after what the context has copied. */
MANTA_API void *manta_gpu_stream(const manta_gpu *gpu);

/* Room on the device. MANTA_E_NOMEM: it has no more; MANTA_E_INVALID: a bad layout. */
MANTA_API int manta_gpu_alloc(manta_gpu *gpu, const manta_layout *layout,
                              manta_gpu_buffer *ret_buffer);
/* Ends a buffer of alloc, load or view, or an opening. MANTA_E_STATE: it is none any more, or it is
 * shared (see manta_gpu_unshare). */
MANTA_API int manta_gpu_free(manta_gpu *gpu, manta_gpu_buffer *buffer);

/* A buffer with what lies at `data`, an argument or any memory. Blocks until it is there. */
MANTA_API int manta_gpu_load(manta_gpu *gpu, const void *data, const manta_layout *layout,
                             manta_gpu_buffer *ret_buffer);
/* Copies a buffer to memory with room for it: a result's, see manta_outv_layout. NULL is
 * MANTA_E_NOMEM, so that the two can be nested. Blocks until it is there and work on the stream is
 * done. */
MANTA_API int manta_gpu_store(manta_gpu *gpu, const manta_gpu_buffer *buffer, void *data);
/* A buffer with a value. Waits for it. Codes as of manta_array_view too; MANTA_E_TYPE: it has no
 * layout. */
MANTA_API int manta_gpu_view(manta_gpu *gpu, manta_ref ref, manta_gpu_buffer *ret_buffer);
/* A value of a buffer, written where the node's ranks will read it. Codes as of manta_put_begin
 * too. */
MANTA_API int manta_gpu_put(manta_gpu *gpu, const manta_gpu_buffer *buffer, manta_ref *ret_ref);

/* Lets other processes of the node open a buffer of alloc, load or view. It cannot be freed before
 * manta_gpu_unshare. */
MANTA_API int manta_gpu_share(manta_gpu *gpu, const manta_gpu_buffer *buffer,
                              manta_gpu_share_name *ret_name);
/* Ends that. Who has it open must have closed it. */
MANTA_API int manta_gpu_unshare(manta_gpu *gpu, const manta_gpu_buffer *buffer);
/* Maps a shared buffer; manta_gpu_free closes it. In the process that shares it, only by the same
 * context, it is the buffer itself. MANTA_E_INVALID: it is on another node (pass the value
 * instead), or of another context here; MANTA_E_LOST: it is not shared any more. */
MANTA_API int manta_gpu_open(manta_gpu *gpu, const manta_gpu_share_name *name,
                             manta_gpu_buffer *ret_buffer);

#ifdef __cplusplus
}
#endif

#endif
