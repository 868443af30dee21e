/* The CSV reader, alone: what it accepts, and where it says a mistake is. */
#include "csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct reading {
    struct csv csv;
    struct csv_errors errors;
};

static struct reading *start(const char *text)
{
    struct reading *reading = calloc(1, sizeof *reading);
    assert_non_null(reading);
    csv_init(&reading->csv, text, strlen(text));
    return reading;
}

static bool next(struct reading *reading)
{
    return csv_next(&reading->csv, &reading->errors);
}

static void expect_field(const struct reading *reading, size_t index, const char *text,
                         uint32_t line, uint32_t column)
{
    assert_true(index < reading->csv.count);
    const struct csv_field *field = &reading->csv.fields[index];
    assert_string_equal(field->text, text);
    assert_int_equal(field->length, strlen(text));
    assert_int_equal(field->line, line);
    assert_int_equal(field->column, column);
}

static void expect_error(const struct reading *reading, size_t index, uint32_t line,
                         uint32_t column, const char *text)
{
    assert_true(index < reading->errors.count);
    const struct csv_error *error = &reading->errors.list[index];
    assert_non_null(strstr(error->text, text));
    assert_int_equal(error->line, line);
    assert_int_equal(error->column, column);
}

/* Reads all, expects no mistake, and gives the number of records. */
static size_t count_records(const char *text)
{
    struct reading *reading = start(text);
    size_t count = 0;
    while (next(reading)) {
        count++;
    }
    assert_int_equal(reading->errors.count, 0);
    free(reading);
    return count;
}

static void fields_have_lines_and_columns(void **state)
{
    struct reading *reading = start("ab,c\n d ,\"e,f\",\n");
    assert_true(next(reading));
    assert_int_equal(reading->csv.count, 2);
    expect_field(reading, 0, "ab", 1, 1);
    expect_field(reading, 1, "c", 1, 4);
    assert_true(next(reading));
    assert_int_equal(reading->csv.count, 3);
    expect_field(reading, 0, "d", 2, 2);
    expect_field(reading, 1, "e,f", 2, 5);
    expect_field(reading, 2, "", 2, 11);
    assert_false(next(reading));
    assert_int_equal(reading->errors.count, 0);
    free(reading);
}

static void all_line_ends_and_blank_lines_are_understood(void **state)
{
    assert_int_equal(count_records("a\nb\n"), 2);
    assert_int_equal(count_records("a\r\nb\r\n"), 2);
    assert_int_equal(count_records("a\rb"), 2);
    assert_int_equal(count_records("\n\r\n  \t\na\n\n\nb\n   "), 2);
    assert_int_equal(count_records(""), 0);
    assert_int_equal(count_records("\xef\xbb\xbf"), 0);
}

static void lines_are_counted_the_same_for_all_line_ends(void **state)
{
    static const char *const texts[] = {"a\n\nb", "a\r\n\r\nb", "a\r\rb"};
    for (size_t i = 0; i < 3; i++) {
        struct reading *reading = start(texts[i]);
        assert_true(next(reading));
        assert_true(next(reading));
        expect_field(reading, 0, "b", 3, 1);
        free(reading);
    }
}

static void byte_order_mark_is_no_part_of_the_first_field(void **state)
{
    struct reading *reading = start("\xef\xbb\xbfkind,x\n");
    assert_true(next(reading));
    expect_field(reading, 0, "kind", 1, 1);
    free(reading);
}

static void columns_count_characters_not_bytes(void **state)
{
    struct reading *reading = start("\xc3\xa4\xe2\x82\xac,b\n");
    assert_true(next(reading));
    expect_field(reading, 1, "b", 1, 4);
    free(reading);
}

static void quotes_may_hold_commas_quotes_and_line_ends(void **state)
{
    struct reading *reading = start("\"a,b\",\"say \"\"x\"\"\" , \"two\nlines\" ,z\n\"\"\n");
    assert_true(next(reading));
    assert_int_equal(reading->csv.count, 4);
    expect_field(reading, 0, "a,b", 1, 1);
    expect_field(reading, 1, "say \"x\"", 1, 7);
    expect_field(reading, 2, "two\nlines", 1, 21);
    expect_field(reading, 3, "z", 2, 9);
    assert_true(next(reading));
    expect_field(reading, 0, "", 3, 1);
    free(reading);
}

static void a_quote_never_closed_costs_one_line_only(void **state)
{
    struct reading *reading = start("a,\"b\nc,d\n");
    assert_true(next(reading));
    expect_error(reading, 0, 1, 3, "not closed");
    expect_field(reading, 0, "c", 2, 1);
    assert_int_equal(reading->errors.count, 1);
    free(reading);
}

static void stray_quotes_are_reported_where_they_are(void **state)
{
    struct reading *reading = start("a\"b,c\n\"a\"b,c\nd\n");
    assert_true(next(reading));
    expect_field(reading, 0, "d", 3, 1);
    assert_int_equal(reading->errors.count, 2);
    expect_error(reading, 0, 1, 2, "a quote inside a field");
    expect_error(reading, 1, 2, 4, "text after the closing quote");
    free(reading);
}

static void a_zero_byte_is_a_mistake(void **state)
{
    struct reading *reading = start("");
    csv_init(&reading->csv, "a\0b\nc\n", 6);
    assert_true(next(reading));
    expect_error(reading, 0, 1, 2, "zero byte");
    expect_field(reading, 0, "c", 2, 1);
    free(reading);
}

/* A record of exactly `bytes` bytes, then one that is fine. Owned. */
static char *long_text(size_t bytes, const char *quote)
{
    char *text = malloc(bytes + 8);
    assert_non_null(text);
    memset(text, 'x', bytes);
    text[bytes] = '\0';
    if (*quote) {
        text[0] = text[bytes - 1] = *quote;
    }
    strcat(text, "\ngood\n");
    return text;
}

static void records_have_a_longest_length(void **state)
{
    char *fits = long_text(CSV_RECORD_MAX, "");
    assert_int_equal(count_records(fits), 2);
    free(fits);
    static const char *const quotes[] = {"", "\""};
    for (size_t i = 0; i < 2; i++) {
        char *longer = long_text(CSV_RECORD_MAX + 3, quotes[i]);
        struct reading *reading = start(longer);
        assert_true(next(reading));
        expect_field(reading, 0, "good", 2, 1);
        assert_int_equal(reading->errors.count, 1);
        assert_int_equal(reading->errors.list[0].line, 1);
        free(reading);
        free(longer);
    }
}

static void records_have_a_largest_number_of_fields(void **state)
{
    char text[2 * CSV_FIELDS_MAX + 8];
    memset(text, ',', sizeof text);
    strcpy(text + CSV_FIELDS_MAX - 1, "\n");
    assert_int_equal(count_records(text), 1);
    memset(text, ',', sizeof text);
    strcpy(text + CSV_FIELDS_MAX, "\ngood\n");
    struct reading *reading = start(text);
    assert_true(next(reading));
    expect_field(reading, 0, "good", 2, 1);
    expect_error(reading, 0, 1, CSV_FIELDS_MAX + 1, "fields");
    free(reading);
}

static void mistakes_beyond_the_cap_are_counted(void **state)
{
    char text[4 * CSV_ERRORS_MAX + 64] = "";
    for (int i = 0; i < CSV_ERRORS_MAX + 7; i++) {
        strcat(text, "a\"\n");
    }
    struct reading *reading = start(text);
    assert_false(next(reading));
    assert_int_equal(reading->errors.count, CSV_ERRORS_MAX + 7);
    assert_int_equal(reading->errors.list[CSV_ERRORS_MAX - 1].line, CSV_ERRORS_MAX);
    free(reading);
}

static void shown_fields_are_short_and_printable(void **state)
{
    struct csv_field field = {.text = "a\x1b[2J\xff", .length = 6};
    assert_string_equal(csv_show(&field).text, "\"a?[2J?\"");
    field = (struct csv_field){.text = "abcdefghijklmnopqrstuvwxyz0123", .length = 30};
    assert_string_equal(csv_show(&field).text, "\"abcdefghijklmnopqrstuvwxyz\"...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_have_lines_and_columns),
        cmocka_unit_test(all_line_ends_and_blank_lines_are_understood),
        cmocka_unit_test(lines_are_counted_the_same_for_all_line_ends),
        cmocka_unit_test(byte_order_mark_is_no_part_of_the_first_field),
        cmocka_unit_test(columns_count_characters_not_bytes),
        cmocka_unit_test(quotes_may_hold_commas_quotes_and_line_ends),
        cmocka_unit_test(a_quote_never_closed_costs_one_line_only),
        cmocka_unit_test(stray_quotes_are_reported_where_they_are),
        cmocka_unit_test(a_zero_byte_is_a_mistake),
        cmocka_unit_test(records_have_a_longest_length),
        cmocka_unit_test(records_have_a_largest_number_of_fields),
        cmocka_unit_test(mistakes_beyond_the_cap_are_counted),
        cmocka_unit_test(shown_fields_are_short_and_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
