/* Closed prices against the literature and against what must hold among them. */
#include "black_scholes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect_near(double value, double expected, double error)
{
    if (!(fabs(value - expected) <= error)) {
        fail_msg("%.12g is not %.12g within %g", value, expected, error);
    }
}

static const struct contract base = {.kind = CONTRACT_CALL,
                                     .style = CONTRACT_EUROPEAN,
                                     .spot = 42,
                                     .strike = 40,
                                     .rate = 0.1,
                                     .volatility = 0.2,
                                     .maturity = 0.5,
                                     .steps = 1,
                                     .samples = 2};

/* J. Hull, Options, Futures and Other Derivatives, the example of the Black-Scholes-Merton chapter.
 */
static void hulls_example_is_met(void **state)
{
    struct contract contract = base;
    expect_near(black_scholes(&contract), 4.759422, 1e-6);
    contract.kind = CONTRACT_PUT;
    expect_near(black_scholes(&contract), 0.808599, 1e-6);
}

static void call_minus_put_is_the_forward(void **state)
{
    static const double volatilities[] = {0.01, 0.2, 1, 3}, strikes[] = {1, 40, 42, 400};
    for (size_t i = 0; i < 16; i++) {
        struct contract call = base;
        call.volatility = volatilities[i / 4];
        call.strike = strikes[i % 4];
        call.dividend = 0.03;
        struct contract put = call;
        put.kind = CONTRACT_PUT;
        double forward = call.spot * exp(-call.dividend * call.maturity) -
                         call.strike * exp(-call.rate * call.maturity);
        expect_near(black_scholes(&call) - black_scholes(&put), forward, 1e-11 * call.strike);
    }
}

static void almost_no_volatility_gives_the_intrinsic_value(void **state)
{
    struct contract contract = base;
    contract.volatility = 1e-9;
    expect_near(black_scholes(&contract), 42 - 40 * exp(-0.05), 1e-9);
    contract.kind = CONTRACT_PUT;
    expect_near(black_scholes(&contract), 0, 1e-12);
}

static void tails_keep_their_digits(void **state)
{
    struct contract contract = base;
    contract.strike = 400;
    double price = black_scholes(&contract);
    assert_true(price > 0 && price < 1e-40);
}

static void geometric_mean_of_one_step_is_the_european_option(void **state)
{
    struct contract contract = base;
    contract.dividend = 0.02;
    expect_near(black_scholes_geometric(&contract), black_scholes(&contract), 1e-12);
}

/* Many steps: the known limit, volatility / sqrt 3 and drift (rate - volatility^2 / 6) / 2. */
static void geometric_mean_tends_to_the_continuous_limit(void **state)
{
    struct contract contract = base, limit = base;
    contract.steps = 1000000;
    limit.volatility = base.volatility / sqrt(3);
    limit.dividend = base.rate - 0.5 * (base.rate - base.volatility * base.volatility / 6);
    expect_near(black_scholes_geometric(&contract), black_scholes(&limit), 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hulls_example_is_met),
        cmocka_unit_test(call_minus_put_is_the_forward),
        cmocka_unit_test(almost_no_volatility_gives_the_intrinsic_value),
        cmocka_unit_test(tails_keep_their_digits),
        cmocka_unit_test(geometric_mean_of_one_step_is_the_european_option),
        cmocka_unit_test(geometric_mean_tends_to_the_continuous_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
