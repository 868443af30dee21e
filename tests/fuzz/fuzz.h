/* What fuzz targets share: a check that stays in every build, and a reader of bytes that never runs
 * dry. */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* Zeros where there are no bytes left. */
static inline void fuzz_take(struct fuzz_input *input, void *bytes, size_t size)
{
    size_t there = input->left < size ? input->left : size;
    memset(bytes, 0, size);
    if (there) {
        memcpy(bytes, input->at, there);
    }
    input->at += there;
    input->left -= there;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    uint8_t byte;
    fuzz_take(input, &byte, 1);
    return byte;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
