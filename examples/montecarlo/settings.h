/* What the command line of `options` asks for, and the files it names. Mistakes are printed here.
 */
#ifndef MONTECARLO_SETTINGS_H
#define MONTECARLO_SETTINGS_H

#include "grid.h"
#include "paths.h"
#include "progress.h"

/* Exit codes; SETTINGS_HELP is none: all was said. */
enum { EXIT_BAD_RUN = 1, EXIT_BAD_INPUT = 2, SETTINGS_HELP = -1 };

struct settings {
    uint64_t seed;
    enum paths_pairing pairing;
    enum progress_style style;
    const char *output;
    const char *grid;
};

/* Fills `settings`, which holds the defaults. 0, EXIT_BAD_INPUT or SETTINGS_HELP. */
int settings_parse(int argc, char **argv, struct settings *settings);

/* Finds out before the work, not after it, that the result cannot be written. */
int settings_check_output(const struct settings *settings);

/* Reads the grid, or prints all that is wrong with it. Owned: grid_fini. */
int settings_load_grid(const struct settings *settings, struct grid *ret_grid);

#endif
