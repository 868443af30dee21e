/* Task descriptors by the hash of name and signature. Process-wide, because code is. */
#ifndef CORE_REGISTRY_H
#define CORE_REGISTRY_H

#include <manta/manta.h>

/* What the library notes about a descriptor, in manta_function.reserved. */
struct function_info {
    uint32_t hash;
    uint16_t outputs;        /* positions a task takes: at least 1 */
    uint16_t value_outputs;  /* 0 when only completion is signalled */
    uint16_t inputs_awaited; /* in and inout */
    uint16_t ref_inputs;     /* parameters that hold refs at the call */
    uint16_t ref_outputs;
    uint8_t is_checked;
    uint8_t single_bytes; /* of the one small fixed output; 0: something else */
    uint8_t single_param; /* which parameter that is */
    uint8_t is_stream;
    uint8_t has_refs; /* a parameter is refs in the body too */
};

static inline struct function_info *function_info(const manta_function *function)
{
    return (struct function_info *)(uintptr_t)function->reserved;
}

static inline uint32_t function_hash(const manta_function *function)
{
    return function_info(function)->hash;
}

/* NULL: unknown here. Any thread. O(1). */
manta_function *registry_find(uint32_t hash);

/* Each registered one: *at starts at 0; NULL after the last. */
const manta_function *registry_next(uint32_t *at);

/* What registrations went wrong; false and the reason in text, true when all is well. */
int registry_check(char *text, size_t size);

/* A digest of all registered (name, signature) pairs, independent of their order. */
uint64_t registry_digest(void);

/* "name(kind type[bytes], ...) at file:line" of the i-th descriptor in a fixed order; 0 past the
 * end. For naming differences. */
int registry_describe(unsigned i, char *text, size_t size);

#endif
