/*
 * Fuzz target: any bytes as a grid. Whatever comes, the reader ends, reads nothing that
 * is not there, and either gives contracts within the columns' ranges or at least one
 * mistake with a place inside the text.
 */
#include "fuzz.h"
#include "grid.h"

static void check_value(const struct contract *contract, const struct grid_column *column)
{
    const char *at = (const char *)contract + column->offset;
    switch (column->type) {
    case GRID_KIND:
    case GRID_STYLE:
        HOLDS(*(const int32_t *)at == 0 || *(const int32_t *)at == 1);
        break;
    case GRID_REAL:
        HOLDS(*(const double *)at >= column->above && *(const double *)at <= column->most);
        break;
    case GRID_WHOLE:
        HOLDS(*(const uint64_t *)at > column->above && *(const uint64_t *)at <= column->most);
        break;
    }
}

static void check_grid(const struct grid *grid)
{
    HOLDS(grid->count > 0);
    for (size_t i = 0; i < grid->count; i++) {
        for (size_t k = 0; k < GRID_COLUMNS; k++) {
            check_value(&grid->contracts[i], &grid_columns[k]);
        }
        HOLDS(grid->lines[i] > (i > 0 ? grid->lines[i - 1] : 1));
    }
}

static void check_errors(const struct csv_errors *errors, size_t size)
{
    HOLDS(errors->count > 0);
    for (size_t i = 0; i < errors->count && i < CSV_ERRORS_MAX; i++) {
        const struct csv_error *error = &errors->list[i];
        HOLDS(error->line >= 1 && error->line <= size + 1);
        HOLDS(error->column >= 1 && error->column <= size + 1);
        HOLDS(error->text[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct csv_errors errors = {0};
    struct grid grid = {0};
    if (grid_parse(data, size, &grid, &errors)) {
        HOLDS(errors.count == 0);
        check_grid(&grid);
    } else {
        HOLDS(grid.contracts == NULL);
        check_errors(&errors, size);
    }
    grid_fini(&grid);
    return 0;
}
