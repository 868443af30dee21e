/* The variables that users set: each is read, each bad value is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launch/settings.h"
#include "manta/error.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *documentation; /* docs/launching.md, whole */

static void defaults_are_taken_from_an_empty_environment(void **state)
{
    const char *none[] = {"PATH=/bin", NULL};
    struct settings settings;
    char text[200];
    memset(&settings, 0xff, sizeof settings);
    assert_int_equal(settings_read(none, &settings, text, sizeof text), MANTA_OK);
    assert_int_equal(settings.workers, 0);
    assert_int_equal(settings.stack_bytes, 256 * 1024);
    assert_int_equal(settings.stop_timeout_ns, 1000000000);
    assert_int_equal(settings.is_pinned, 1);
    assert_int_equal(settings.is_alone, 0);
}

static void variables_reach_their_fields(void **state)
{
    const char *some[] = {"MANTA_WORKERS=3",
                          "MANTA_STACK_BYTES=1m",
                          "MANTA_PARKED_MAX=7",
                          "MANTA_WINDOW_MAX=9",
                          "MANTA_SPIN=5us",
                          "MANTA_STORE=2m",
                          "MANTA_STORE_PATIENCE=11s",
                          "MANTA_LINEAGE=3m",
                          "MANTA_SPILL=/tmp",
                          "MANTA_LOG_LEVEL=4",
                          "MANTA_PIN=off",
                          "MANTA_LAUNCH_TIMEOUT=2s",
                          "MANTA_ALONE=yes",
                          "MANTA_STOP_TIMEOUT=3ms",
                          "MANTA_SILENCE=4s",
                          "MANTA_COMMANDS=6",
                          "MANTA_MEMORY_RESERVE=8",
                          "MANTA_COMMAND_LOG=out",
                          "MANTA_MPI_LIBRARY=/x",
                          NULL};
    struct settings settings,
        expected = {3,          1 << 20, 7,          9, 5000, 2 << 20, 11000000000, 3 << 20, 4,
                    2000000000, 3000000, 4000000000, 0, 1,    0,       6,           8};
    char text[200];
    assert_int_equal(settings_read(some, &settings, text, sizeof text), MANTA_OK);
    assert_memory_equal(&settings, &expected, sizeof settings);
}

static void bad_value_is_named_and_changes_nothing(void **state)
{
    const char *bad[] = {"MANTA_WORKERS=2", "MANTA_STACK_BYTES=small", NULL};
    struct settings settings = {.workers = 77};
    char text[200];
    assert_int_equal(settings_read(bad, &settings, text, sizeof text), MANTA_E_INVALID);
    assert_non_null(strstr(text, "MANTA_STACK_BYTES=small"));
    assert_int_equal(settings.workers, 77);
}

static void every_row_has_help_and_a_default_within_its_bounds(void **state)
{
    size_t count;
    const struct base_config_row *rows = settings_rows(&count);
    assert_int_equal(count, sizeof(struct settings) / sizeof(uint64_t));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].offset, i * sizeof(uint64_t));
        assert_true(rows[i].min <= rows[i].fallback && rows[i].fallback <= rows[i].max);
        assert_int_equal(rows[i].help[strlen(rows[i].help) - 1], '.');
    }
}

static void documentation_has_every_variable_with_its_help(void **state)
{
    size_t count;
    const struct base_config_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char name[64], line[256];
        snprintf(name, sizeof name, "| `MANTA_%s` |", rows[i].name);
        for (char *at = name + strlen("| `"); *at; at++) {
            *at = (char)toupper((unsigned char)*at);
        }
        snprintf(line, sizeof line, "| %s |\n", rows[i].help);
        const char *found = strstr(documentation, name);
        assert_non_null(found);
        found = strstr(found, line);
        assert_non_null(found);
    }
}

static char *read_whole(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    if (!file || fread(text, 1, sizeof text - 1, file) == 0) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    documentation = read_whole(argc > 1 ? argv[1] : "docs/launching.md");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_taken_from_an_empty_environment),
        cmocka_unit_test(variables_reach_their_fields),
        cmocka_unit_test(bad_value_is_named_and_changes_nothing),
        cmocka_unit_test(documentation_has_every_variable_with_its_help),
        cmocka_unit_test(every_row_has_help_and_a_default_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
