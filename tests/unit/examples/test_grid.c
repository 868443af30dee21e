/* The grid: which rows are contracts, and that every mistake is found, each at its place. */
#include "grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER "kind,style,spot,strike,rate,volatility,maturity,steps,samples\n"
#define ROW "call,european,100,95,0.05,0.2,1,1,1000\n"

static struct csv_errors *errors;
static struct grid grid;

static int setup(void **state)
{
    errors = calloc(1, sizeof *errors);
    return errors ? 0 : -1;
}

static int teardown(void **state)
{
    grid_fini(&grid);
    free(errors);
    return 0;
}

static bool parse(const char *text)
{
    return grid_parse(text, strlen(text), &grid, errors);
}

static void expect_error(size_t index, uint32_t line, uint32_t column, const char *text)
{
    assert_true(index < errors->count);
    const struct csv_error *error = &errors->list[index];
    if (!strstr(error->text, text)) {
        fail_msg("\"%s\" is not in \"%s\"", text, error->text);
    }
    assert_int_equal(error->line, line);
    assert_int_equal(error->column, column);
}

static void rows_become_contracts_in_order(void **state)
{
    assert_true(parse(HEADER ROW "\nput,asian,1.5e2,90,-0.01,0.3,0.5,12,1e6\n"));
    assert_int_equal(grid.count, 2);
    const struct contract *second = &grid.contracts[1];
    assert_int_equal(grid.contracts[0].kind, CONTRACT_CALL);
    assert_int_equal(grid.contracts[0].samples, 1000);
    assert_int_equal(second->kind, CONTRACT_PUT);
    assert_int_equal(second->style, CONTRACT_ASIAN);
    assert_true(second->spot == 150 && second->strike == 90 && second->rate == -0.01);
    assert_true(second->volatility == 0.3 && second->maturity == 0.5 && second->dividend == 0);
    assert_int_equal(second->steps, 12);
    assert_int_equal(second->samples, 1000000);
    assert_int_equal(grid.lines[0], 2);
    assert_int_equal(grid.lines[1], 4);
}

static void columns_come_in_any_order_and_case(void **state)
{
    assert_true(parse("Samples,STEPS,dividend,maturity,volatility,rate,strike,spot,style,kind\n"
                      "10,2,0.03,1,0.2,0.05,95,100,Asian,PUT\n"));
    assert_int_equal(grid.count, 1);
    assert_int_equal(grid.contracts[0].samples, 10);
    assert_int_equal(grid.contracts[0].kind, CONTRACT_PUT);
    assert_true(grid.contracts[0].dividend == 0.03);
}

static void missing_unknown_and_doubled_columns_are_named(void **state)
{
    assert_false(parse("kind,style,spot,spot,strike,rate,sigma,maturity,steps\n" ROW));
    assert_int_equal(errors->count, 4);
    expect_error(0, 1, 17, "spot a second time");
    expect_error(1, 1, 34, "unknown column \"sigma\"");
    expect_error(2, 1, 54, "volatility is missing");
    expect_error(3, 1, 54, "samples is missing");
}

static void other_separators_are_told_apart_from_missing_columns(void **state)
{
    assert_false(parse("kind;style;spot\ncall;european;1\n"));
    assert_int_equal(errors->count, 1);
    expect_error(0, 1, 1, "separated by commas");
}

static void a_malformed_header_is_one_mistake(void **state)
{
    assert_false(parse("kind,\"style\n" ROW));
    assert_int_equal(errors->count, 1);
    expect_error(0, 1, 6, "not closed");
}

static void empty_files_and_files_without_rows_are_refused(void **state)
{
    assert_false(parse(""));
    expect_error(0, 1, 1, "no header");
    errors->count = 0;
    assert_false(parse(HEADER "\n\n"));
    expect_error(0, 4, 1, "no rows");
}

static void utf16_is_named(void **state)
{
    assert_false(grid_parse("\xff\xfek\0i\0", 6, &grid, errors));
    expect_error(0, 1, 1, "UTF-16");
}

static void all_mistakes_are_found_in_one_pass(void **state)
{
    assert_false(parse(HEADER "call,european,abc,95,0.05,-0.2,1,1,1000\n" ROW
                              "calls,bermudan,100,95,0.05,0.2,1,1.5,1\n"
                              "call,european,100\n" ROW "put,\"asian,1\n"
                              "call,european,100,95,0.05,0.2,1,1,1000,7\n"));
    assert_int_equal(errors->count, 9);
    expect_error(0, 2, 15, "spot: \"abc\" is not a number above 0");
    expect_error(1, 2, 27, "volatility: \"-0.2\" is not a number above 0");
    expect_error(2, 4, 1, "kind: \"calls\" is not call or put");
    expect_error(3, 4, 7, "style: \"bermudan\" is not european or asian");
    expect_error(4, 4, 34, "steps: \"1.5\" is not a whole number");
    expect_error(5, 4, 38, "samples: \"1\" is not a whole number from 2");
    expect_error(6, 5, 18, "strike is missing: 3 fields, but the header has 9");
    expect_error(7, 7, 5, "not closed");
    expect_error(8, 8, 40, "10 fields, but the header has only 9");
    assert_int_equal(grid.count, 0);
    assert_null(grid.contracts);
}

static void numbers_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"nan", "inf", "-inf",  "0x10", "1e999", "",  "1e",
                                      "1,5", "1 2", "1.2.3", "--1",  "1d3",   "0", "1000000001"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, HEADER "call,european,\"%s\",95,0.05,0.2,1,1,1000\n", bad[i]);
        errors->count = 0;
        assert_false(parse(text));
        assert_int_equal(errors->count, 1);
        expect_error(0, 2, 15, "spot: ");
    }
}

static void a_contract_that_would_take_years_is_refused(void **state)
{
    assert_false(parse(HEADER "call,asian,100,95,0.05,0.2,1,1000000,1000000000000\n"));
    assert_int_equal(errors->count, 1);
    expect_error(0, 2, 38, "samples times steps");
}

static void many_rows_are_kept(void **state)
{
    size_t rows = 5000, bytes = strlen(HEADER) + rows * strlen(ROW);
    char *text = malloc(bytes + 1), *at = text;
    assert_non_null(text);
    at = stpcpy(at, HEADER);
    for (size_t i = 0; i < rows; i++) {
        at = stpcpy(at, ROW);
    }
    assert_true(parse(text));
    assert_int_equal(grid.count, rows);
    assert_int_equal(grid.lines[rows - 1], rows + 1);
    free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rows_become_contracts_in_order),
        CASE(columns_come_in_any_order_and_case),
        CASE(missing_unknown_and_doubled_columns_are_named),
        CASE(other_separators_are_told_apart_from_missing_columns),
        CASE(a_malformed_header_is_one_mistake),
        CASE(empty_files_and_files_without_rows_are_refused),
        CASE(utf16_is_named),
        CASE(all_mistakes_are_found_in_one_pass),
        CASE(numbers_that_are_none_are_refused),
        CASE(a_contract_that_would_take_years_is_refused),
        CASE(many_rows_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
