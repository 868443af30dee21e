/*
 * The device is CUDA's, through its runtime library, which loads the driver when it is first used:
 * without one there are no devices, and nothing fails.
 *
 * The current device belongs to the thread, and tasks change threads: every call sets it.
 */
#include "gpu.h"

#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>

struct cuda {
    int device;
    cudaStream_t stream;
    cudaEvent_t marks[GPU_MARKS];
};

static __thread cudaError_t last;

/* Sets the device, so that it begins every call. */
static struct cuda *use(void *self)
{
    struct cuda *cuda = self;
    (void)cudaSetDevice(cuda->device);
    return cuda;
}

/* CUDA's codes as ours. */
static int judge(cudaError_t code)
{
    last = code;
    (void)cudaGetLastError(); /* it has been heard */
    switch (code) {
    case cudaSuccess:
        return MANTA_OK;
    case cudaErrorMemoryAllocation:
        return MANTA_E_NOMEM;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
        return MANTA_E_NOTFOUND;
    default:
        return MANTA_E_SYSTEM;
    }
}

static const char *reason(void)
{
    return cudaGetErrorString(last);
}

static int count(void)
{
    int devices = 0;
    return judge(cudaGetDeviceCount(&devices)) == MANTA_OK ? devices : 0;
}

static void close_device(void *self)
{
    struct cuda *cuda = use(self);
    for (int i = 0; i < GPU_MARKS; i++) {
        if (cuda->marks[i]) {
            (void)cudaEventDestroy(cuda->marks[i]);
        }
    }
    if (cuda->stream) {
        (void)cudaStreamDestroy(cuda->stream);
    }
    free(cuda);
}

static int open_device(int device, void **ret_self)
{
    struct cuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda) {
        return MANTA_E_NOMEM;
    }
    cuda->device = device;
    int code = judge(cudaSetDevice(device));
    code = code ? code : judge(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    for (int i = 0; i < GPU_MARKS && code == MANTA_OK; i++) {
        code = judge(cudaEventCreateWithFlags(&cuda->marks[i], cudaEventDisableTiming));
    }
    if (code != MANTA_OK) {
        close_device(cuda);
        return code;
    }
    *ret_self = cuda;
    return MANTA_OK;
}

static void *stream(void *self)
{
    return ((struct cuda *)self)->stream;
}

static int take(void *self, size_t bytes, void **ret_device)
{
    (void)use(self);
    return judge(cudaMalloc(ret_device, bytes));
}

static void give(void *self, void *device)
{
    (void)use(self);
    (void)judge(cudaFree(device));
}

static int take_pinned(void *self, size_t bytes, void **ret_data)
{
    (void)use(self);
    return judge(cudaHostAlloc(ret_data, bytes, cudaHostAllocDefault));
}

static void give_pinned(void *self, void *data)
{
    (void)use(self);
    (void)judge(cudaFreeHost(data));
}

static int copy(void *self, void *to, const void *from, size_t bytes, enum gpu_way way)
{
    struct cuda *cuda = use(self);
    return judge(cudaMemcpyAsync(
        to, from, bytes, way == GPU_TO_DEVICE ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
        cuda->stream));
}

static int mark(void *self, unsigned number)
{
    struct cuda *cuda = use(self);
    return judge(cudaEventRecord(cuda->marks[number], cuda->stream));
}

static int wait_mark(void *self, unsigned number)
{
    struct cuda *cuda = use(self);
    return judge(cudaEventSynchronize(cuda->marks[number]));
}

static int name(void *self, void *device, unsigned char handle[64])
{
    cudaIpcMemHandle_t is;
    (void)use(self);
    int code = judge(cudaIpcGetMemHandle(&is, device));
    _Static_assert(sizeof is == 64, "the handle has its place in a name");
    memcpy(handle, &is, sizeof is);
    return code;
}

static int map(void *self, const unsigned char handle[64], void **ret_device)
{
    cudaIpcMemHandle_t is;
    (void)use(self);
    memcpy(&is, handle, sizeof is);
    int code = judge(cudaIpcOpenMemHandle(ret_device, is, cudaIpcMemLazyEnablePeerAccess));
    bool is_gone = last == cudaErrorInvalidResourceHandle || last == cudaErrorMapBufferObjectFailed;
    return code != MANTA_OK && is_gone ? MANTA_E_LOST : code;
}

static void unmap(void *self, void *device)
{
    (void)use(self);
    (void)judge(cudaIpcCloseMemHandle(device));
}

const struct gpu_driver gpu_driver = {.count = count,
                                      .open = open_device,
                                      .close = close_device,
                                      .stream = stream,
                                      .take = take,
                                      .give = give,
                                      .take_pinned = take_pinned,
                                      .give_pinned = give_pinned,
                                      .copy = copy,
                                      .mark = mark,
                                      .wait_mark = wait_mark,
                                      .name = name,
                                      .map = map,
                                      .unmap = unmap,
                                      .reason = reason};
