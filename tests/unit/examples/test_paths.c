/*
 * The sampling of paths, without any tasks. Statistical checks use fixed seeds, so they
 * pass always or never; the limits are five standard errors.
 */
#include "black_scholes.h"
#include "paths.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct contract base = {.kind = CONTRACT_CALL,
                                     .style = CONTRACT_EUROPEAN,
                                     .spot = 100,
                                     .strike = 105,
                                     .rate = 0.05,
                                     .dividend = 0.02,
                                     .volatility = 0.3,
                                     .maturity = 2,
                                     .steps = 4,
                                     .samples = 100000};

struct price {
    double value;
    double error; /* one standard error */
};

static struct price simulate(const struct contract *contract, enum paths_pairing pairing)
{
    struct moments moments = {0};
    manta_rng rng = manta_rng_stream(7, 0);
    paths_sample(contract, pairing, paths_plan(contract, pairing).draws, &rng, &moments);
    double discount = exp(-contract->rate * contract->maturity);
    return (struct price){discount * moments.mean, discount * moments_std_error(&moments)};
}

static void expect_near(double value, double expected, double error)
{
    if (!(fabs(value - expected) <= error)) {
        fail_msg("%.12g is not %.12g within %g", value, expected, error);
    }
}

static void european_prices_agree_with_black_scholes(void **state)
{
    for (int i = 0; i < 8; i++) {
        struct contract contract = base;
        contract.kind = i & 1 ? CONTRACT_PUT : CONTRACT_CALL;
        contract.steps = i & 2 ? 1 : 7;
        struct price price = simulate(&contract, i & 4 ? PATHS_ANTITHETIC : PATHS_PLAIN);
        assert_true(price.error > 0 && price.error < 0.2);
        expect_near(price.value, black_scholes(&contract), 5 * price.error);
    }
}

static void antithetic_pairs_make_the_error_smaller(void **state)
{
    struct price plain = simulate(&base, PATHS_PLAIN);
    struct price paired = simulate(&base, PATHS_ANTITHETIC);
    assert_true(paired.error < 0.9 * plain.error);
}

static void asian_with_one_step_is_european(void **state)
{
    struct contract european = base, asian;
    european.steps = 1;
    asian = european;
    asian.style = CONTRACT_ASIAN;
    expect_near(simulate(&asian, PATHS_PLAIN).value, simulate(&european, PATHS_PLAIN).value, 1e-9);
}

/* Without early exercise, call minus put is the discounted mean price minus the strike. */
static void asian_call_minus_put_is_the_mean_forward(void **state)
{
    struct contract call = base;
    call.style = CONTRACT_ASIAN;
    call.steps = 12;
    struct contract put = call;
    put.kind = CONTRACT_PUT;
    double mean = 0;
    for (int i = 1; i <= 12; i++) {
        mean += exp((call.rate - call.dividend) * call.maturity * i / 12) * call.spot / 12;
    }
    struct price up = simulate(&call, PATHS_PLAIN), down = simulate(&put, PATHS_PLAIN);
    double expected = exp(-call.rate * call.maturity) * (mean - call.strike);
    expect_near(up.value - down.value, expected, 5 * (up.error + down.error));
}

static void asian_call_lies_above_the_geometric_one(void **state)
{
    struct contract call = base;
    call.style = CONTRACT_ASIAN;
    call.steps = 12;
    struct price price = simulate(&call, PATHS_PLAIN);
    double geometric = black_scholes_geometric(&call);
    assert_true(price.value > geometric);
    assert_true(price.value < geometric * 1.2);
}

static void the_plan_covers_all_draws_once(void **state)
{
    static const uint64_t samples[] = {2, 3, 262144, 262145, 1000001, 1000000000000};
    static const uint64_t steps[] = {1, 2, 50, 262144, 1000000};
    for (size_t i = 0; i < 60; i++) {
        struct contract contract = base;
        contract.samples = samples[i % 6];
        contract.steps = steps[i / 6 % 5];
        enum paths_pairing pairing = i < 30 ? PATHS_PLAIN : PATHS_ANTITHETIC;
        struct paths_plan plan = paths_plan(&contract, pairing);
        uint64_t paths = plan.draws * (pairing == PATHS_ANTITHETIC ? 2 : 1);
        assert_true(paths == contract.samples || paths == contract.samples + 1);
        assert_in_range(plan.chunks, 1, PATHS_CHUNKS_MAX);
        assert_true((plan.chunks - 1) * plan.chunk_draws < plan.draws);
        assert_true(plan.chunks * plan.chunk_draws >= plan.draws);
    }
}

static void merged_moments_are_those_of_the_whole(void **state)
{
    struct moments whole = {0}, merged = {0};
    manta_rng one = manta_rng_stream(3, 1);
    paths_sample(&base, PATHS_PLAIN, 1000, &one, &whole);
    manta_rng again = manta_rng_stream(3, 1);
    for (uint64_t draws = 0; draws < 5; draws++) {
        struct moments part = {0};
        paths_sample(&base, PATHS_PLAIN, draws * 100, &again, &part);
        moments_merge(&merged, &part);
    }
    assert_int_equal(merged.count, whole.count);
    assert_int_equal(merged.paying, whole.paying);
    expect_near(merged.mean, whole.mean, 1e-9);
    expect_near(moments_std_error(&merged), moments_std_error(&whole), 1e-9);
}

static void the_same_stream_gives_the_same_bits(void **state)
{
    struct moments first = {0}, second = {0};
    manta_rng rng = manta_rng_stream(3, 1), again = rng;
    paths_sample(&base, PATHS_ANTITHETIC, 100, &rng, &first);
    paths_sample(&base, PATHS_ANTITHETIC, 100, &again, &second);
    assert_memory_equal(&first, &second, sizeof first);
}

static void fewer_than_two_draws_have_no_error(void **state)
{
    struct moments moments = {0};
    manta_rng rng = manta_rng_stream(3, 1);
    assert_true(moments_std_error(&moments) == 0);
    paths_sample(&base, PATHS_PLAIN, 1, &rng, &moments);
    assert_true(moments_std_error(&moments) == 0);
}

/* The largest contract that a grid may hold has finite moments. */
static void no_admitted_contract_overflows(void **state)
{
    struct contract contract = {.spot = 1e9,
                                .strike = 1,
                                .rate = 1,
                                .dividend = -1,
                                .volatility = 3,
                                .maturity = 50,
                                .steps = 1,
                                .samples = 100000};
    struct price price = simulate(&contract, PATHS_PLAIN);
    assert_true(isfinite(price.value) && isfinite(price.error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(european_prices_agree_with_black_scholes),
        cmocka_unit_test(antithetic_pairs_make_the_error_smaller),
        cmocka_unit_test(asian_with_one_step_is_european),
        cmocka_unit_test(asian_call_minus_put_is_the_mean_forward),
        cmocka_unit_test(asian_call_lies_above_the_geometric_one),
        cmocka_unit_test(the_plan_covers_all_draws_once),
        cmocka_unit_test(merged_moments_are_those_of_the_whole),
        cmocka_unit_test(the_same_stream_gives_the_same_bits),
        cmocka_unit_test(fewer_than_two_draws_have_no_error),
        cmocka_unit_test(no_admitted_contract_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
