/*
 * One table (grid_columns) says what the columns are; the header check, the parser of a
 * row and the result table all follow it. A row with a mistake is dropped and reading
 * goes on, so that all mistakes are found in one pass.
 */
#include "grid.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COST_MAX 1e15 /* steps x samples of one contract: a CPU-year */

#define OF(member) offsetof(struct contract, member)

const struct grid_column grid_columns[GRID_COLUMNS] = {
    {"kind", "", GRID_KIND, GRID_REQUIRED, OF(kind), 0, 0, "call or put"},
    {"style", "", GRID_STYLE, GRID_REQUIRED, OF(style), 0, 0, "european or asian"},
    {"spot", "currency", GRID_REAL, GRID_REQUIRED, OF(spot), 0, 1e9,
     "a number above 0, at most 1e9"},
    {"strike", "currency", GRID_REAL, GRID_REQUIRED, OF(strike), 0, 1e9,
     "a number above 0, at most 1e9"},
    {"rate", "1/year", GRID_REAL, GRID_REQUIRED, OF(rate), -1, 1,
     "a number above -1, at most 1 (5 % is 0.05)"},
    {"dividend", "1/year", GRID_REAL, GRID_OPTIONAL, OF(dividend), -1, 1,
     "a number above -1, at most 1 (5 % is 0.05)"},
    {"volatility", "1/sqrt(year)", GRID_REAL, GRID_REQUIRED, OF(volatility), 0, 3,
     "a number above 0, at most 3 (20 % is 0.2)"},
    {"maturity", "year", GRID_REAL, GRID_REQUIRED, OF(maturity), 0, 50,
     "a number above 0, at most 50 (years)"},
    {"steps", "", GRID_WHOLE, GRID_REQUIRED, OF(steps), 0, 1e6, "a whole number from 1 to 1e6"},
    {"samples", "", GRID_WHOLE, GRID_REQUIRED, OF(samples), 1, 1e12,
     "a whole number from 2 to 1e12"},
};

struct reader {
    struct csv csv;
    struct csv_errors *errors;
    size_t field_count;
    const struct grid_column *columns[CSV_FIELDS_MAX]; /* of each field */
    struct grid grid;
    size_t capacity;
};

static const struct grid_column *find_column(const char *name)
{
    for (size_t i = 0; i < GRID_COLUMNS; i++) {
        if (strcasecmp(grid_columns[i].name, name) == 0) {
            return &grid_columns[i];
        }
    }
    return NULL;
}

static bool header_has(const struct reader *reader, const struct grid_column *column)
{
    for (size_t i = 0; i < reader->field_count; i++) {
        if (reader->columns[i] == column) {
            return true;
        }
    }
    return false;
}

static void read_name(struct reader *reader, const struct csv_field *field)
{
    const struct grid_column *column = find_column(field->text);
    if (!column) {
        csv_report(reader->errors, field->line, field->column, "unknown column %s",
                   csv_show(field).text);
    } else if (header_has(reader, column)) {
        csv_report(reader->errors, field->line, field->column, "column %s a second time",
                   column->name);
    }
    reader->columns[reader->field_count++] = column;
}

static bool read_header(struct reader *reader)
{
    struct csv *csv = &reader->csv;
    bool found = csv_next(csv, reader->errors);
    if (reader->errors->count > 0) {
        return false; /* the record after a malformed header is not the header */
    }
    if (!found) {
        csv_report(reader->errors, 1, 1, "no header: the first line names the columns");
        return false;
    }
    if (csv->count == 1 && strpbrk(csv->fields[0].text, ";\t|")) {
        csv_report(reader->errors, csv->fields[0].line, csv->fields[0].column,
                   "only one column: fields must be separated by commas");
        return false;
    }
    for (size_t i = 0; i < csv->count; i++) {
        read_name(reader, &csv->fields[i]);
    }
    for (size_t i = 0; i < GRID_COLUMNS; i++) {
        const struct grid_column *column = &grid_columns[i];
        if (column->presence == GRID_REQUIRED && !header_has(reader, column)) {
            csv_report(reader->errors, csv->end_line, csv->end_column, "column %s is missing",
                       column->name);
        }
    }
    return reader->errors->count == 0;
}

/* Decimal numbers only: strtod alone would take nan, inf, hexadecimal and trailing text. */
static bool parse_number(const struct csv_field *field, double *ret_value)
{
    if (field->length == 0 || field->length != strspn(field->text, "+-.0123456789eE")) {
        return false;
    }
    char *end;
    double value = strtod(field->text, &end);
    if (end != field->text + field->length || !isfinite(value)) {
        return false;
    }
    *ret_value = value;
    return true;
}

static bool parse_choice(const struct csv_field *field, const char *zero, const char *one,
                         int32_t *ret_value)
{
    if (strcasecmp(field->text, zero) != 0 && strcasecmp(field->text, one) != 0) {
        return false;
    }
    *ret_value = strcasecmp(field->text, one) == 0;
    return true;
}

static bool parse_in_range(const struct grid_column *column, const struct csv_field *field,
                           double *ret_value)
{
    double value;
    if (!parse_number(field, &value) || !(value > column->above && value <= column->most)) {
        return false;
    }
    *ret_value = value;
    return true;
}

static bool parse_whole(const struct grid_column *column, const struct csv_field *field,
                        uint64_t *ret_value)
{
    double value;
    if (!parse_in_range(column, field, &value) || value != floor(value)) {
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

static bool parse_field(const struct grid_column *column, const struct csv_field *field,
                        struct contract *contract)
{
    void *to = (char *)contract + column->offset;
    switch (column->type) {
    case GRID_KIND:
        return parse_choice(field, "call", "put", to);
    case GRID_STYLE:
        return parse_choice(field, "european", "asian", to);
    case GRID_REAL:
        return parse_in_range(column, field, to);
    case GRID_WHOLE:
        return parse_whole(column, field, to);
    }
    return false;
}

static bool check_cost(struct reader *reader, const struct contract *contract)
{
    if ((double)contract->steps * (double)contract->samples <= COST_MAX) {
        return true;
    }
    for (size_t i = 0; i < reader->field_count; i++) {
        if (reader->columns[i]->offset == OF(samples)) {
            const struct csv_field *field = &reader->csv.fields[i];
            csv_report(reader->errors, field->line, field->column,
                       "samples times steps is more than %.0e", COST_MAX);
        }
    }
    return false;
}

static bool read_row(struct reader *reader, struct contract *ret_contract)
{
    struct csv *csv = &reader->csv;
    struct contract contract = {0};
    bool good = true;
    for (size_t i = 0; i < csv->count && i < reader->field_count; i++) {
        const struct csv_field *field = &csv->fields[i];
        const struct grid_column *column = reader->columns[i];
        if (!parse_field(column, field, &contract)) {
            csv_report(reader->errors, field->line, field->column, "%s: %s is not %s", column->name,
                       csv_show(field).text, column->expected);
            good = false;
        }
    }
    if (csv->count < reader->field_count) {
        csv_report(reader->errors, csv->end_line, csv->end_column,
                   "%s is missing: %zu fields, but the header has %zu",
                   reader->columns[csv->count]->name, csv->count, reader->field_count);
        return false;
    }
    if (csv->count > reader->field_count) {
        const struct csv_field *field = &csv->fields[reader->field_count];
        csv_report(reader->errors, field->line, field->column,
                   "%zu fields, but the header has only %zu", csv->count, reader->field_count);
        return false;
    }
    if (!good || !check_cost(reader, &contract)) {
        return false;
    }
    *ret_contract = contract;
    return true;
}

static bool grow(struct reader *reader)
{
    if (reader->grid.count < reader->capacity) {
        return true;
    }
    size_t capacity = reader->capacity ? 2 * reader->capacity : 64;
    struct grid *grid = &reader->grid;
    struct contract *contracts = realloc(grid->contracts, capacity * sizeof *contracts);
    if (contracts) {
        grid->contracts = contracts;
    }
    uint32_t *lines = realloc(grid->lines, capacity * sizeof *lines);
    if (lines) {
        grid->lines = lines;
    }
    if (!contracts || !lines) {
        return false;
    }
    reader->capacity = capacity;
    return true;
}

static void read_rows(struct reader *reader)
{
    struct contract contract;
    while (csv_next(&reader->csv, reader->errors)) {
        uint32_t line = reader->csv.fields[0].line;
        if (!read_row(reader, &contract)) {
            continue;
        }
        if (!grow(reader)) {
            csv_report(reader->errors, line, 1, "out of memory");
            return;
        }
        reader->grid.lines[reader->grid.count] = line;
        reader->grid.contracts[reader->grid.count++] = contract;
    }
    if (reader->grid.count == 0 && reader->errors->count == 0) {
        csv_report(reader->errors, reader->csv.line, 1, "no rows below the header");
    }
}

static bool is_utf16(const unsigned char *text, size_t bytes)
{
    return bytes >= 2 &&
           ((text[0] == 0xff && text[1] == 0xfe) || (text[0] == 0xfe && text[1] == 0xff));
}

bool grid_parse(const void *text, size_t bytes, struct grid *ret_grid, struct csv_errors *errors)
{
    struct reader reader = {.errors = errors};
    if (is_utf16(text, bytes)) {
        csv_report(errors, 1, 1, "this is UTF-16: save the file as UTF-8");
        return false;
    }
    csv_init(&reader.csv, text, bytes);
    if (read_header(&reader)) {
        read_rows(&reader);
    }
    if (errors->count > 0) {
        grid_fini(&reader.grid);
        return false;
    }
    *ret_grid = reader.grid;
    return true;
}

void grid_fini(struct grid *grid)
{
    free(grid->contracts);
    free(grid->lines);
    *grid = (struct grid){0};
}
