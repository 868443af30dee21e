/*
 * What a device has to do, as functions: CUDA's are in cuda.c, and those of a pretended device in
 * host memory in tests/cuda. Everything else, who stages, who owns, when a buffer may go, is in
 * gpu.c and is the same for both.
 *
 * All return MANTA_OK or a code and then `reason` says why, of the calling thread. A device's
 * address is only ever given back to the driver. `copy` may return before it is done; `mark` and
 * `wait_mark` order host and stream.
 */
#ifndef CUDA_GPU_H
#define CUDA_GPU_H

#include <manta/cuda.h>

enum gpu_way { GPU_TO_DEVICE, GPU_FROM_DEVICE };

struct gpu_driver {
    int (*count)(void);
    int (*open)(int device, void **ret_self);
    void (*close)(void *self);
    void *(*stream)(void *self);
    int (*take)(void *self, size_t bytes, void **ret_device);
    void (*give)(void *self, void *device);
    int (*take_pinned)(void *self, size_t bytes, void **ret_data);
    void (*give_pinned)(void *self, void *data);
    int (*copy)(void *self, void *to, const void *from, size_t bytes, enum gpu_way way);
    /* The end of what was asked for before; marks are numbered from 0. */
    int (*mark)(void *self, unsigned mark);
    int (*wait_mark)(void *self, unsigned mark);
    int (*name)(void *self, void *device, unsigned char handle[64]);
    int (*map)(void *self, const unsigned char handle[64], void **ret_device);
    void (*unmap)(void *self, void *device);
    const char *(*reason)(void);
};

enum { GPU_MARKS = 2 };

extern const struct gpu_driver gpu_driver;

#endif
