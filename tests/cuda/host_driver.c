/*
 * A pretended device: its memory is memfds of this process, which other processes open through
 * /proc as they would open CUDA's handles. Copies are done late, at the mark that is waited for, so
 * that who forgets to wait reads what was there before. It counts what is taken and fails when it
 * is told to.
 */
#include "host_driver.h"

#include <cuda/gpu.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct host_device host_device = {.devices = 1, .fail_in = -1};

struct memory {
    struct memory *next;
    void *data;
    size_t bytes;
    int fd;
};

struct late {
    void *to;
    const void *from;
    size_t bytes;
};

static struct memory *taken;
static struct late late[64];
static unsigned late_count, mark_at[GPU_MARKS];

/* The next call that can fail does when its turn has come. */
static int may_fail(int code)
{
    return host_device.fail_in >= 0 && host_device.fail_in-- == 0 ? code : MANTA_OK;
}

static int count(void)
{
    return host_device.devices;
}

static int open_device(int device, void **ret_self)
{
    *ret_self = &host_device;
    return may_fail(MANTA_E_SYSTEM);
}

static void close_device(void *self)
{
    late_count = 0;
}

static void *stream(void *self)
{
    return self;
}

static int enter(int fd, size_t bytes, void **ret_device)
{
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct memory *memory = malloc(sizeof *memory);
    if (data == MAP_FAILED || !memory) {
        return MANTA_E_NOMEM;
    }
    *memory = (struct memory){taken, data, bytes, fd};
    taken = memory;
    host_device.live++;
    *ret_device = data;
    return MANTA_OK;
}

static int take(void *self, size_t bytes, void **ret_device)
{
    int fd, code = may_fail(MANTA_E_NOMEM);
    if (code != MANTA_OK) {
        return code;
    }
    fd = (int)syscall(SYS_memfd_create, "device", 0);
    return fd < 0 || ftruncate(fd, (off_t)bytes) != 0 ? MANTA_E_NOMEM
                                                      : enter(fd, bytes, ret_device);
}

static void give(void *self, void *device)
{
    for (struct memory **at = &taken; *at; at = &(*at)->next) {
        struct memory *memory = *at;
        if (memory->data == device) {
            *at = memory->next;
            munmap(memory->data, memory->bytes);
            close(memory->fd);
            free(memory);
            host_device.live--;
            return;
        }
    }
    abort(); /* not the device's */
}

static int take_pinned(void *self, size_t bytes, void **ret_data)
{
    int code = may_fail(MANTA_E_NOMEM);
    *ret_data = code ? NULL : malloc(bytes);
    host_device.pinned += *ret_data != NULL;
    return *ret_data ? MANTA_OK : MANTA_E_NOMEM;
}

static void give_pinned(void *self, void *data)
{
    host_device.pinned--;
    free(data);
}

static int copy(void *self, void *to, const void *from, size_t bytes, enum gpu_way way)
{
    if (late_count == sizeof late / sizeof late[0]) {
        return MANTA_E_LIMIT; /* nobody waits */
    }
    late[late_count++] = (struct late){to, from, bytes};
    host_device.copies++;
    return may_fail(MANTA_E_SYSTEM);
}

static int mark(void *self, unsigned number)
{
    mark_at[number] = late_count;
    return may_fail(MANTA_E_SYSTEM);
}

static int wait_mark(void *self, unsigned number)
{
    unsigned upto = mark_at[number];
    for (unsigned i = 0; i < upto; i++) {
        memcpy(late[i].to, late[i].from, late[i].bytes);
    }
    memmove(late, late + upto, (late_count - upto) * sizeof late[0]);
    late_count -= upto;
    for (unsigned i = 0; i < GPU_MARKS; i++) {
        mark_at[i] -= mark_at[i] < upto ? mark_at[i] : upto;
    }
    return may_fail(MANTA_E_SYSTEM);
}

struct handle {
    pid_t process;
    int fd;
    size_t bytes;
};

static int name(void *self, void *device, unsigned char handle[64])
{
    for (struct memory *memory = taken; memory; memory = memory->next) {
        if (memory->data == device) {
            const struct handle is = {getpid(), memory->fd, memory->bytes};
            memcpy(handle, &is, sizeof is);
            return may_fail(MANTA_E_SYSTEM);
        }
    }
    return MANTA_E_INVALID;
}

static int map(void *self, const unsigned char handle[64], void **ret_device)
{
    struct handle is;
    char path[64];
    memcpy(&is, handle, sizeof is);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)is.process, is.fd);
    int fd = open(path, O_RDWR);
    return fd < 0 ? MANTA_E_LOST : enter(fd, is.bytes, ret_device);
}

static const char *reason(void)
{
    return "the pretended device was told to";
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
                                      .unmap = give,
                                      .reason = reason};
