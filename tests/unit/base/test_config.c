/* Options: the grammar of each type, golden error texts, and an environment read all or not at
 * all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"
#include "manta/error.h"

#include <string.h>

struct values {
    uint64_t workers, stack_bytes, tick_ns, trace, seed;
};

#define ROW(name, type, fallback, min, max)                                                        \
    {                                                                                              \
#name, type, offsetof(struct values, name), fallback, min, max, "help"                     \
    }

static const struct base_config_row rows[] = {
    ROW(workers, BASE_CONFIG_UINT, 0, 0, 4096),
    ROW(stack_bytes, BASE_CONFIG_BYTES, 262144, 16384, 1u << 30),
    ROW(tick_ns, BASE_CONFIG_TIME, 500000, 1000, 3600000000000u),
    ROW(trace, BASE_CONFIG_SWITCH, 0, 0, 1),
    ROW(seed, BASE_CONFIG_UINT, 7, 0, UINT64_MAX),
};

enum { WORKERS, STACK, TICK, TRACE, SEED };

static void assert_good(int row, const char *value, uint64_t expected)
{
    uint64_t number = 12345;
    char text[256] = "";
    assert_int_equal(base_config_parse(&rows[row], value, &number, text, sizeof text), MANTA_OK);
    assert_int_equal(number, expected);
    assert_string_equal(text, "");
}

static void assert_bad(int row, const char *value)
{
    uint64_t number = 12345;
    char text[256] = "";
    assert_int_equal(base_config_parse(&rows[row], value, &number, text, sizeof text),
                     MANTA_E_INVALID);
    assert_int_equal(number, 12345);
    assert_non_null(strstr(text, "expected"));
}

static void defaults_fill_every_field(void **state)
{
    struct values values;
    memset(&values, 0xff, sizeof values);
    base_config_defaults(rows, MT_COUNT(rows), &values);
    assert_int_equal(values.workers, 0);
    assert_int_equal(values.stack_bytes, 262144);
    assert_int_equal(values.tick_ns, 500000);
    assert_int_equal(values.trace, 0);
    assert_int_equal(values.seed, 7);
}

static void good_values_of_every_type_are_read(void **state)
{
    assert_good(WORKERS, "0", 0);
    assert_good(WORKERS, "4096", 4096);
    assert_good(SEED, "18446744073709551615", UINT64_MAX);
    assert_good(STACK, "16384", 16384);
    assert_good(STACK, "64k", 65536);
    assert_good(STACK, "2M", 2u << 20);
    assert_good(STACK, "1g", 1u << 30);
    assert_good(TICK, "1000ns", 1000);
    assert_good(TICK, "500us", 500000);
    assert_good(TICK, "20ms", 20000000);
    assert_good(TICK, "3s", 3000000000u);
    assert_good(TICK, "2m", 120000000000u);
    assert_good(TICK, "1h", 3600000000000u);
    assert_good(TRACE, "on", 1);
    assert_good(TRACE, "TRUE", 1);
    assert_good(TRACE, "yes", 1);
    assert_good(TRACE, "1", 1);
    assert_good(TRACE, "off", 0);
    assert_good(TRACE, "false", 0);
    assert_good(TRACE, "No", 0);
    assert_good(TRACE, "0", 0);
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    static const char *const bad_numbers[] = {"",
                                              " 1",
                                              "1 ",
                                              "+1",
                                              "-1",
                                              "0x10",
                                              "1.5",
                                              "4097",
                                              "k",
                                              "1k",
                                              "18446744073709551616",
                                              "99999999999999999999999"};
    static const char *const bad_bytes[] = {
        "", "64kb", "64 k", "k", "16383", "2g", "1p", "-64k", "18446744073709551615t", "20000000t"};
    static const char *const bad_times[] = {"",      "500", "0",  "1 s",  "s",
                                            "999ns", "2h",  "1d", "1.5s", "99999999999999999h"};
    static const char *const bad_switches[] = {"", "2", "o", "onn", "enable", " on"};
    for (size_t i = 0; i < MT_COUNT(bad_numbers); i++) {
        assert_bad(WORKERS, bad_numbers[i]);
    }
    for (size_t i = 0; i < MT_COUNT(bad_bytes); i++) {
        assert_bad(STACK, bad_bytes[i]);
    }
    for (size_t i = 0; i < MT_COUNT(bad_times); i++) {
        assert_bad(TICK, bad_times[i]);
    }
    for (size_t i = 0; i < MT_COUNT(bad_switches); i++) {
        assert_bad(TRACE, bad_switches[i]);
    }
}

static void assert_text(int row, const char *value, const char *expected)
{
    uint64_t number;
    char text[256];
    base_config_parse(&rows[row], value, &number, text, sizeof text);
    assert_string_equal(text, expected);
}

static void error_texts_name_variable_value_and_expectation(void **state)
{
    assert_text(WORKERS, "many", "MANTA_WORKERS=many: expected a whole number, from 0 to 4096");
    assert_text(
        STACK, "12x",
        "MANTA_STACK_BYTES=12x: expected bytes such as 4096, 64k, 2m or 1g, from 16k to 1g");
    assert_text(TICK, "500",
                "MANTA_TICK_NS=500: expected a time with its unit such as 500us, 20ms, 3s, "
                "2m or 1h, from 1us to 1h");
    assert_text(TRACE, "maybe", "MANTA_TRACE=maybe: expected on or off");
    assert_text(SEED, "x", "MANTA_SEED=x: expected a whole number, at least 0");
}

static void a_short_text_buffer_is_respected(void **state)
{
    uint64_t number;
    char text[16];
    memset(text, '#', sizeof text);
    base_config_parse(&rows[WORKERS], "many", &number, text, 8);
    assert_string_equal(text, "MANTA_W");
    assert_int_equal(text[8], '#');
}

static int read_environment(const char *const *environment, struct values *values, char *text,
                            size_t size)
{
    static const char *const ignored[] = {"MANTA_RANK", "MANTA_SECRET", NULL};
    base_config_defaults(rows, MT_COUNT(rows), values);
    text[0] = '\0';
    return base_config_environment(rows, MT_COUNT(rows), environment, ignored, values, text, size);
}

static void the_environment_overrides_defaults(void **state)
{
    static const char *const environment[] = {"PATH=/bin",
                                              "MANTA_WORKERS=12",
                                              "MANTANA=1",
                                              "MANTA_RANK=whatever",
                                              "MANTA_TRACE=on",
                                              "manta_seed=1",
                                              "MANTA_BROKEN_WITHOUT_EQUALS",
                                              NULL};
    struct values values;
    char text[256];
    assert_int_equal(read_environment(environment, &values, text, sizeof text), MANTA_OK);
    assert_int_equal(values.workers, 12);
    assert_int_equal(values.trace, 1);
    assert_int_equal(values.seed, 7);
    assert_int_equal(values.stack_bytes, 262144);
}

static void a_bad_variable_leaves_all_values_as_they_were(void **state)
{
    static const char *const environment[] = {"MANTA_WORKERS=12", "MANTA_STACK_BYTES=1", NULL};
    struct values values;
    char text[256];
    assert_int_equal(read_environment(environment, &values, text, sizeof text), MANTA_E_INVALID);
    assert_int_equal(values.workers, 0);
    assert_string_equal(text,
                        "MANTA_STACK_BYTES=1: expected bytes such as 4096, 64k, 2m or 1g, from 16k "
                        "to 1g");
}

static void an_unknown_variable_is_an_error_with_the_nearest_name(void **state)
{
    static const char *const misspelt[] = {"MANTA_WORKRES=2", NULL};
    static const char *const other[] = {"MANTA_STACK_BYTE=64k", NULL};
    static const char *const far[] = {"MANTA_XQZJW=1", NULL};
    static const char *const empty[] = {"MANTA_=1", NULL};
    struct values values;
    char text[256];
    assert_int_equal(read_environment(misspelt, &values, text, sizeof text), MANTA_E_INVALID);
    assert_string_equal(text, "MANTA_WORKRES: no such option; did you mean MANTA_WORKERS?");
    assert_int_equal(read_environment(other, &values, text, sizeof text), MANTA_E_INVALID);
    assert_string_equal(text, "MANTA_STACK_BYTE: no such option; did you mean MANTA_STACK_BYTES?");
    assert_int_equal(read_environment(far, &values, text, sizeof text), MANTA_E_INVALID);
    assert_string_equal(text, "MANTA_XQZJW: no such option");
    assert_int_equal(read_environment(empty, &values, text, sizeof text), MANTA_E_INVALID);
}

static void very_long_names_and_values_are_survived(void **state)
{
    static char entry[5000];
    const char *environment[] = {entry, NULL};
    struct values values;
    char text[256];
    memset(entry, 'A', sizeof entry - 1);
    memcpy(entry, "MANTA_", 6);
    entry[3000] = '=';
    assert_int_equal(read_environment(environment, &values, text, sizeof text), MANTA_E_INVALID);
    memcpy(entry, "MANTA_WORKERS=", 14);
    assert_int_equal(read_environment(environment, &values, text, sizeof text), MANTA_E_INVALID);
    assert_non_null(strstr(text, "expected a whole number"));
}

static void no_environment_is_an_empty_one(void **state)
{
    struct values values;
    char text[256];
    assert_int_equal(read_environment(NULL, &values, text, sizeof text), MANTA_OK);
    assert_int_equal(
        base_config_environment(rows, MT_COUNT(rows), NULL, NULL, &values, text, sizeof text),
        MANTA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_every_field),
        cmocka_unit_test(good_values_of_every_type_are_read),
        cmocka_unit_test(bad_values_are_refused_and_change_nothing),
        cmocka_unit_test(error_texts_name_variable_value_and_expectation),
        cmocka_unit_test(a_short_text_buffer_is_respected),
        cmocka_unit_test(the_environment_overrides_defaults),
        cmocka_unit_test(a_bad_variable_leaves_all_values_as_they_were),
        cmocka_unit_test(an_unknown_variable_is_an_error_with_the_nearest_name),
        cmocka_unit_test(very_long_names_and_values_are_survived),
        cmocka_unit_test(no_environment_is_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
