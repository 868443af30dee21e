/*
 * Reading options: one grammar per type, and a message a user can act on.
 *
 * A number is decimal digits and perhaps a unit; nothing is skipped and nothing may
 * follow, so "1 g" and "0x10" are errors instead of surprises. The environment is read
 * twice: first every MANTA_ variable is checked, then the values are stored, so that
 * a bad one leaves the struct as it was. An unknown name is an error, because a
 * misspelt option that is silently ignored costs more than a refused start.
 */
#include "base/config.h"

#include "manta/error.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PREFIX "MANTA_"
#define NAME_MAX_BYTES 64

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit byte_units[] = {{"", 1},
                                         {"k", UINT64_C(1) << 10},
                                         {"m", UINT64_C(1) << 20},
                                         {"g", UINT64_C(1) << 30},
                                         {"t", UINT64_C(1) << 40},
                                         {NULL, 0}};
static const struct unit time_units[] = {{"ns", 1},
                                         {"us", 1000},
                                         {"ms", 1000000},
                                         {"s", 1000000000},
                                         {"m", UINT64_C(60000000000)},
                                         {"h", UINT64_C(3600000000000)},
                                         {NULL, 0}};
static const struct unit switch_words[] = {{"on", 1},    {"off", 0}, {"true", 1},
                                           {"false", 0}, {"yes", 1}, {"no", 0},
                                           {"1", 1},     {"0", 0},   {NULL, 0}};

static const struct type {
    const struct unit *units;
    const char *expected;
} types[] = {
    [BASE_CONFIG_UINT] = {no_units, "a whole number"},
    [BASE_CONFIG_BYTES] = {byte_units, "bytes such as 4096, 64k, 2m or 1g"},
    [BASE_CONFIG_TIME] = {time_units, "a time with its unit such as 500us, 20ms, 3s, 2m or 1h"},
    [BASE_CONFIG_SWITCH] = {switch_words, "on or off"},
};

static uint64_t *field_of(const struct base_config_row *row, void *values)
{
    return (uint64_t *)((char *)values + row->offset);
}

void base_config_defaults(const struct base_config_row *rows, size_t count, void *values)
{
    for (size_t i = 0; i < count; i++) {
        *field_of(&rows[i], values) = rows[i].fallback;
    }
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name; units++) {
        if (strcasecmp(units->name, name) == 0) {
            return units;
        }
    }
    return NULL;
}

static bool parse_number(const struct unit *units, const char *value, uint64_t *ret)
{
    uint64_t number = 0;
    const char *at = value;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number)) {
            return false;
        }
    }
    const struct unit *unit = at == value ? NULL : find_unit(units, at);
    return unit && !__builtin_mul_overflow(number, unit->factor, ret);
}

static bool parse_value(enum base_config_type type, const char *value, uint64_t *ret)
{
    if (type != BASE_CONFIG_SWITCH) {
        return parse_number(types[type].units, value, ret);
    }
    const struct unit *word = find_unit(switch_words, value);
    if (word) {
        *ret = word->factor;
    }
    return word != NULL;
}

/* A value in the largest unit that leaves it whole. */
static void write_value(enum base_config_type type, uint64_t value, char *text, size_t size)
{
    const struct unit *best = types[type].units;
    for (const struct unit *unit = best; unit->name && value; unit++) {
        best = value % unit->factor == 0 ? unit : best;
    }
    snprintf(text, size, "%" PRIu64 "%s", value / best->factor, best->name);
}

static void write_expected(const struct base_config_row *row, char *text, size_t size)
{
    char least[32], most[32];
    if (row->type == BASE_CONFIG_SWITCH) {
        snprintf(text, size, "%s", types[row->type].expected);
        return;
    }
    write_value(row->type, row->min, least, sizeof least);
    write_value(row->type, row->max, most, sizeof most);
    if (row->max == UINT64_MAX) {
        snprintf(text, size, "%s, at least %s", types[row->type].expected, least);
    } else {
        snprintf(text, size, "%s, from %s to %s", types[row->type].expected, least, most);
    }
}

static void write_variable(const char *name, char *text, size_t size)
{
    snprintf(text, size, PREFIX "%s", name);
    for (; *text; text++) {
        *text = (char)toupper((unsigned char)*text);
    }
}

int base_config_parse(const struct base_config_row *row, const char *value, uint64_t *ret,
                      char *text, size_t text_size)
{
    uint64_t number;
    if (parse_value(row->type, value, &number) &&
        (row->type == BASE_CONFIG_SWITCH || (number >= row->min && number <= row->max))) {
        *ret = number;
        return MANTA_OK;
    }
    char variable[NAME_MAX_BYTES], expected[160];
    write_variable(row->name, variable, sizeof variable);
    write_expected(row, expected, sizeof expected);
    snprintf(text, text_size, "%s=%.60s: expected %s", variable, value, expected);
    return MANTA_E_INVALID;
}

/* Levenshtein's distance without regard to case, O(length^2); names longer than the row are cut. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES];
    size_t width = strnlen(b, NAME_MAX_BYTES - 1);
    for (size_t j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] && i < NAME_MAX_BYTES; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= width; j++) {
            bool same = tolower((unsigned char)a[i]) == tolower((unsigned char)b[j - 1]);
            size_t change = diagonal + !same;
            diagonal = row[j];
            row[j] = MT_MIN(change, MT_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[width];
}

static const struct base_config_row *nearest(const struct base_config_row *rows, size_t count,
                                             const char *name)
{
    const struct base_config_row *best = NULL;
    size_t best_distance = strlen(name) / 2 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(name, rows[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = &rows[i];
        }
    }
    return best;
}

static int unknown(const struct base_config_row *rows, size_t count, const char *name, char *text,
                   size_t text_size)
{
    const struct base_config_row *guess = nearest(rows, count, name);
    char variable[NAME_MAX_BYTES];
    if (guess) {
        write_variable(guess->name, variable, sizeof variable);
        snprintf(text, text_size, PREFIX "%s: no such option; did you mean %s?", name, variable);
    } else {
        snprintf(text, text_size, PREFIX "%s: no such option", name);
    }
    return MANTA_E_INVALID;
}

static bool is_listed(const char *const *names, const char *prefixed_name)
{
    for (; names && *names; names++) {
        if (strcmp(*names, prefixed_name) == 0) {
            return true;
        }
    }
    return false;
}

/* Environment names are upper case: "manta_x" and "MANTA_x" are not ours. */
static const struct base_config_row *find_row(const struct base_config_row *rows, size_t count,
                                              const char *prefixed_name)
{
    char variable[NAME_MAX_BYTES];
    for (size_t i = 0; i < count; i++) {
        write_variable(rows[i].name, variable, sizeof variable);
        if (strcmp(variable, prefixed_name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

struct reader {
    const struct base_config_row *rows;
    size_t count;
    const char *const *ignored;
    void *values; /* NULL: only check */
};

static int read_variable(const struct reader *reader, const char *entry, char *text,
                         size_t text_size)
{
    const char *equals = strchr(entry, '=');
    if (strncmp(entry, PREFIX, strlen(PREFIX)) != 0 || !equals) {
        return MANTA_OK;
    }
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)(equals - entry), entry);
    const struct base_config_row *row = find_row(reader->rows, reader->count, name);
    if (!row) {
        return is_listed(reader->ignored, name)
                   ? MANTA_OK
                   : unknown(reader->rows, reader->count, name + strlen(PREFIX), text, text_size);
    }
    uint64_t value = 0;
    int code = base_config_parse(row, equals + 1, &value, text, text_size);
    if (code == MANTA_OK && reader->values) {
        *field_of(row, reader->values) = value;
    }
    return code;
}

static int read_all(const struct reader *reader, const char *const *environment, char *text,
                    size_t text_size)
{
    for (; environment && *environment; environment++) {
        int code = read_variable(reader, *environment, text, text_size);
        if (code) {
            return code;
        }
    }
    return MANTA_OK;
}

int base_config_environment(const struct base_config_row *rows, size_t count,
                            const char *const *environment, const char *const *ignored,
                            void *values, char *text, size_t text_size)
{
    struct reader reader = {rows, count, ignored, NULL};
    int code = read_all(&reader, environment, text, text_size);
    if (code) {
        return code;
    }
    reader.values = values;
    return read_all(&reader, environment, text, text_size);
}
