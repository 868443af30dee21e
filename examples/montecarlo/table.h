/*
 * The result of a sweep as one HDF5 file: the dataset /options, a table with a row per
 * contract in the grid's order, and beside it what is needed to repeat it (attributes
 * seed, samples, antithetic, version, units). The bytes of the file depend on nothing else: no time
 * stamps, no host names. It appears under its name only when it is complete.
 */
#ifndef MONTECARLO_TABLE_H
#define MONTECARLO_TABLE_H

#include "contract.h"

#include <stddef.h>

struct table_row {
    struct contract contract; /* samples: the paths really taken */
    double price;             /* NaN: the row failed */
    double std_error;         /* one standard error of the price */
    double black_scholes;     /* closed price; NaN for Asian contracts */
};

struct table_facts {
    uint64_t seed;
    uint64_t samples; /* paths of all rows together */
    uint32_t antithetic;
    const char *version;
};

/* Writes the file, replacing one of that name. 0, or -1 with the reason in text[size]. */
int table_write(const char *path, const struct table_row *rows, size_t count,
                const struct table_facts *facts, char *text, size_t size);

#endif
