/* What a test asks of the pretended device, and what it tells. */
#ifndef TESTS_CUDA_HOST_DRIVER_H
#define TESTS_CUDA_HOST_DRIVER_H

struct host_device {
    int devices;
    int fail_in;      /* calls until one fails; -1: none does */
    int live, pinned; /* taken and not given back */
    int copies;
};

extern struct host_device host_device;

#endif
