/*
 * The grid: the contracts of a sweep, read from CSV text and checked before any work
 * starts. The first record names the columns, in any order and case; `dividend` may be
 * left out and is then 0. Every number is checked against the range that its column's
 * row in the table (grid_columns) states; within those ranges no price, and no square
 * of one, overflows a double. All mistakes of a file are reported at once.
 */
#ifndef MONTECARLO_GRID_H
#define MONTECARLO_GRID_H

#include "contract.h"
#include "csv.h"

#define GRID_COLUMNS 10

enum grid_type { GRID_KIND, GRID_STYLE, GRID_REAL, GRID_WHOLE };

struct grid_column {
    const char *name;
    const char *unit;
    enum grid_type type;
    enum { GRID_REQUIRED, GRID_OPTIONAL } presence;
    size_t offset; /* in struct contract */
    double above;  /* values are more than this, */
    double most;   /* and at most this */
    const char *expected;
};

/* Also the order of the columns in the result table. */
extern const struct grid_column grid_columns[GRID_COLUMNS];

struct grid {
    struct contract *contracts; /* in the file's order */
    uint32_t *lines;            /* the line of each */
    size_t count;
};

/*
 * Reads a grid. True when there was no mistake and at least one contract; else `errors`
 * (zeroed by the caller) says why and *ret_grid is untouched. Owned: grid_fini.
 */
bool grid_parse(const void *text, size_t bytes, struct grid *ret_grid, struct csv_errors *errors);

/* Frees a grid; a zeroed one is fine. */
void grid_fini(struct grid *grid);

#endif
