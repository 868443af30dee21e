/*
 * Fuzz target: any environment, one variable per line. The parser gives values within their
 * rows' limits, or a reason; variables that are not Manta's never matter.
 */
#include "base/config.h"
#include "fuzz.h"
#include "manta/error.h"

#include <stdbool.h>

enum { VARIABLES_MAX = 32 };

struct values {
    uint64_t workers, stack_bytes, wait_ns, quiet;
};

static const struct base_config_row rows[] = {
    {"workers", BASE_CONFIG_UINT, offsetof(struct values, workers), 0, 0, 1024,
     "threads that run tasks"},
    {"stack_bytes", BASE_CONFIG_BYTES, offsetof(struct values, stack_bytes), 65536, 16384,
     UINT64_C(1) << 40, "of a task"},
    {"wait", BASE_CONFIG_TIME, offsetof(struct values, wait_ns), 1000, 1, UINT64_MAX,
     "until a launch is given up"},
    {"quiet", BASE_CONFIG_SWITCH, offsetof(struct values, quiet), 0, 0, 1, "say nothing"},
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool is_ours(const char *variable)
{
    return strncmp(variable, "MANTA_", 6) == 0;
}

static void check_values(const struct values *values)
{
    for (int i = 0; i < ROWS; i++) {
        uint64_t value = *(const uint64_t *)((const char *)values + rows[i].offset);
        HOLDS(value == rows[i].fallback || (value >= rows[i].min && value <= rows[i].max));
    }
}

/* The same value alone, by every row. */
static void check_parse(const char *value)
{
    for (int i = 0; i < ROWS; i++) {
        char text[40];
        uint64_t got = 12345;
        memset(text, 'x', sizeof text);
        if (base_config_parse(&rows[i], value, &got, text, sizeof text) == MANTA_OK) {
            HOLDS(got >= rows[i].min && got <= rows[i].max);
        } else {
            HOLDS(got == 12345 && text[0] && memchr(text, 0, sizeof text));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *environment[VARIABLES_MAX + 1] = {NULL}, *const ignored[] = {"MANTA_RANK", NULL};
    char *copy = malloc(size + 1), text[200] = "", *line, *rest;
    struct values values;
    bool any = false;
    HOLDS(copy);
    memcpy(copy, data, size);
    copy[size] = '\0';
    rest = copy;
    for (int i = 0; i < VARIABLES_MAX && (line = strsep(&rest, "\n")); i++) {
        environment[i] = line;
        any |= is_ours(line);
        check_parse(strchr(line, '=') ? strchr(line, '=') + 1 : line);
    }
    base_config_defaults(rows, ROWS, &values);
    int code =
        base_config_environment(rows, ROWS, environment, ignored, &values, text, sizeof text);
    HOLDS(code == MANTA_OK ||
          (code == MANTA_E_INVALID && any && text[0] && memchr(text, 0, sizeof text)));
    check_values(&values);
    free(copy);
    return 0;
}
