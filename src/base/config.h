/*
 * Options by name. One table gives the parser, the environment names (MANTA_ and the
 * name in upper case), the defaults and the help text. Sources in order, later wins:
 * the default, the environment, the program. A bad value is an error that names the
 * variable, the value and what was expected.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

enum base_config_type {
    BASE_CONFIG_UINT,  /* uint64_t, decimal */
    BASE_CONFIG_BYTES, /* uint64_t: 4096, 64k, 2m, 1g, powers of 1024 */
    BASE_CONFIG_TIME, /* uint64_t nanoseconds: 500us, 20ms, 3s, 2m, 1h; a bare number is an error */
    BASE_CONFIG_SWITCH, /* uint64_t 0 or 1: on, off, true, false, yes, no, 1, 0 */
};

struct base_config_row {
    const char *name; /* "stack_bytes" */
    enum base_config_type type;
    size_t offset; /* of the uint64_t in the struct */
    uint64_t fallback;
    uint64_t min, max; /* inclusive */
    const char *help;  /* one sentence */
};

/* Fills every row's field with its default. */
void base_config_defaults(const struct base_config_row *rows, size_t count, void *values);
/* Parses one value into *ret; on failure writes the reason to text. MANTA_OK or MANTA_E_INVALID. */
int base_config_parse(const struct base_config_row *row, const char *value, uint64_t *ret,
                      char *text, size_t text_size);
/* Reads the MANTA_* variables of an environment block (environ). An unknown MANTA_ name is an error
 * that suggests the nearest; names listed in `ignored` (in full, "MANTA_RANK"; NULL-terminated) are
 * not. */
int base_config_environment(const struct base_config_row *rows, size_t count,
                            const char *const *environment, const char *const *ignored,
                            void *values, char *text, size_t text_size);

#endif
