/*
 * Random streams: the numbers themselves (known answers of Random123), that only the
 * position decides them, and moments and frequencies with bounds of five standard errors
 * of the statistic, so that a sound generator fails none and a slightly wrong one does.
 * The seeds are fixed: what passes once always passes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <manta/rng.h>
#include <math.h>
#include <string.h>

/* Random123, tests/kat_vectors: "philox4x64 10", key and counter zero. */
static void the_first_block_is_the_known_answer(void **state)
{
    static const uint64_t want[4] = {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b,
                                     0x7e68b68aec7ba23b};
    manta_rng rng = manta_rng_stream(0, 0);
    for (int i = 0; i < 4; i++) {
        assert_true(manta_rng_u64(&rng) == want[i]);
    }
}

/* Philox4x64-10 as its paper states it, in the plainest form. */
static void philox_of_the_paper(uint64_t counter[4], uint64_t key0, uint64_t key1)
{
    for (int round = 0; round < 10; round++) {
        unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93u * counter[0];
        unsigned __int128 b = (unsigned __int128)0xCA5A826395121157u * counter[2];
        uint64_t next[4] = {(uint64_t)(b >> 64) ^ counter[1] ^ key0, (uint64_t)b,
                            (uint64_t)(a >> 64) ^ counter[3] ^ key1, (uint64_t)a};
        memcpy(counter, next, sizeof next);
        key0 += 0x9E3779B97F4A7C15u;
        key1 += 0xBB67AE8584CAA73Bu;
    }
}

static void the_plain_form_gives_the_other_known_answers(void **state)
{
    uint64_t ones[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    static const uint64_t want_ones[4] = {0x87b092c3013fe90b, 0x438c3c67be8d0224,
                                          0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0};
    uint64_t digits[4] = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0,
                          0x082efa98ec4e6c89};
    static const uint64_t want_digits[4] = {0xa528f45403e61d95, 0x38c72dbd566e9788,
                                            0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6};
    philox_of_the_paper(ones, UINT64_MAX, UINT64_MAX);
    assert_memory_equal(ones, want_ones, sizeof ones);
    philox_of_the_paper(digits, 0x452821e638d01377, 0xbe5466cf34e90c6c);
    assert_memory_equal(digits, want_digits, sizeof digits);
}

static void every_number_is_the_function_of_seed_stream_and_position(void **state)
{
    const uint64_t seed = 0x452821e638d01377, stream = 0xbe5466cf34e90c6c;
    manta_rng rng = manta_rng_stream(seed, stream);
    for (uint64_t block = 0; block < 100; block++) {
        uint64_t want[4] = {block, 0, 0, 0};
        philox_of_the_paper(want, seed, stream);
        for (int i = 0; i < 4; i++) {
            assert_true(manta_rng_u64(&rng) == want[i]);
        }
    }
}

static void skipping_equals_drawing(void **state)
{
    static const uint64_t counts[] = {0, 1, 3, 4, 15, 16, 17, 31, 32, 33, 63, 64, 1000, 1001};
    for (uint64_t before = 0; before < 40; before++) {
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            manta_rng drawn = manta_rng_stream(9, 5), skipped = drawn;
            for (uint64_t i = 0; i < before; i++) {
                manta_rng_u64(&drawn);
                manta_rng_u64(&skipped);
            }
            for (uint64_t i = 0; i < counts[k]; i++) {
                manta_rng_u64(&drawn);
            }
            manta_rng_skip(&skipped, counts[k]);
            for (int i = 0; i < 20; i++) {
                assert_true(manta_rng_u64(&drawn) == manta_rng_u64(&skipped));
            }
        }
    }
}

static void a_far_skip_is_the_block_of_that_number(void **state)
{
    manta_rng rng = manta_rng_stream(1, 2);
    manta_rng_skip(&rng, UINT64_MAX);
    uint64_t want[4] = {UINT64_MAX / 4, 0, 0, 0};
    philox_of_the_paper(want, 1, 2);
    assert_true(manta_rng_u64(&rng) == want[3]);
}

static void a_copy_goes_on_alone(void **state)
{
    manta_rng a = manta_rng_stream(3, 4);
    manta_rng_skip(&a, 21);
    manta_rng b = a;
    uint64_t first = manta_rng_u64(&a);
    manta_rng_skip(&a, 50);
    assert_true(manta_rng_u64(&b) == first);
}

static void mixed_kinds_of_draws_use_one_number_each(void **state)
{
    manta_rng mixed = manta_rng_stream(11, 0), plain = mixed;
    for (int i = 0; i < 100; i++) {
        uint64_t bits = manta_rng_u64(&plain);
        assert_true(manta_rng_uniform(&mixed) == (double)(bits >> 11) / 9007199254740992.0);
        manta_rng_u64(&plain);
        manta_rng_normal(&mixed);
    }
    assert_true(manta_rng_u64(&mixed) == manta_rng_u64(&plain));
}

static void uniform_is_below_one_and_has_its_moments(void **state)
{
    enum { N = 1000000 };
    manta_rng rng = manta_rng_stream(2024, 1);
    double sum = 0, squares = 0, lag = 0, last = 0;
    for (int i = 0; i < N; i++) {
        double x = manta_rng_uniform(&rng);
        assert_true(x >= 0 && x < 1);
        sum += x;
        squares += x * x;
        lag += (x - 0.5) * last;
        last = x - 0.5;
    }
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
    assert_true(fabs(lag / N) < 5.0 / 12 / sqrt(N));
}

static void neighbouring_streams_are_uncorrelated(void **state)
{
    enum { N = 200000 };
    for (uint64_t seed = 0; seed < 2; seed++) {
        manta_rng a = manta_rng_stream(seed, 0), b = manta_rng_stream(seed, 1);
        manta_rng c = manta_rng_stream(seed + 1, 0);
        double ab = 0, ac = 0;
        for (int i = 0; i < N; i++) {
            double x = manta_rng_uniform(&a) - 0.5;
            ab += x * (manta_rng_uniform(&b) - 0.5);
            ac += x * (manta_rng_uniform(&c) - 0.5);
        }
        assert_true(fabs(ab / N) < 5.0 / 12 / sqrt(N));
        assert_true(fabs(ac / N) < 5.0 / 12 / sqrt(N));
    }
}

static void every_bit_is_set_half_of_the_time(void **state)
{
    enum { N = 100000 };
    uint64_t set[64] = {0};
    manta_rng rng = manta_rng_stream(7, 7);
    for (int i = 0; i < N; i++) {
        uint64_t bits = manta_rng_u64(&rng);
        for (int k = 0; k < 64; k++) {
            set[k] += bits >> k & 1;
        }
    }
    for (int k = 0; k < 64; k++) {
        assert_true(fabs((double)set[k] - N / 2.0) < 5 * sqrt(N / 4.0));
    }
}

/* The state's buffer is public, so a draw can be planted. */
static double normal_of(uint64_t bits)
{
    manta_rng rng = manta_rng_stream(0, 0);
    manta_rng_refill(&rng);
    rng.buffer[0] = bits;
    return manta_rng_normal(&rng);
}

static void normal_inverts_the_distribution_function(void **state)
{
    for (int i = 0; i < 52; i++) { /* down to the smallest tail, 2^-53 */
        uint64_t bits = (uint64_t)1 << 63 >> i;
        double p = ((double)(bits >> 12) + 0.5) / 4503599627370496.0;
        double z = normal_of(bits);
        assert_true(fabs(erfc(-z / sqrt(2)) / 2 / p - 1) < 1e-13 * (1 + z * z));
    }
    assert_true(fabs(normal_of(0) + 8.2095) < 1e-3);
    for (uint64_t i = 1; i < 1000; i++) {
        uint64_t bits = i * (UINT64_MAX / 1000);
        assert_true(normal_of(bits) > normal_of(bits - UINT64_MAX / 1000));
        assert_true(fabs(normal_of(bits) + normal_of(~bits)) < 1e-13);
    }
}

static void normal_has_its_moments(void **state)
{
    enum { N = 1000000 };
    manta_rng rng = manta_rng_stream(5, 6);
    double m[5] = {0};
    int beyond_two = 0;
    for (int i = 0; i < N; i++) {
        double z = manta_rng_normal(&rng), power = 1;
        for (int k = 1; k <= 4; k++) {
            m[k] += power *= z;
        }
        beyond_two += fabs(z) > 2;
    }
    assert_true(fabs(m[1] / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(m[2] / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(m[3] / N) < 5 * sqrt(15.0 / N));
    assert_true(fabs(m[4] / N - 3) < 5 * sqrt(96.0 / N));
    double tail = erfc(sqrt(2));
    assert_true(fabs((double)beyond_two / N - tail) < 5 * sqrt(tail * (1 - tail) / N));
}

static void below_is_in_range_and_even(void **state)
{
    enum { N = 600000 };
    manta_rng rng = manta_rng_stream(1, 1);
    uint64_t count[6] = {0};
    for (int i = 0; i < N; i++) {
        uint64_t k = manta_rng_below(&rng, 6);
        assert_true(k < 6);
        count[k]++;
    }
    double chi = 0;
    for (int k = 0; k < 6; k++) {
        double off = (double)count[k] - N / 6.0;
        chi += off * off / (N / 6.0);
    }
    assert_true(chi < 5 + 5 * sqrt(10)); /* mean 5, variance 10 */
    assert_int_equal(manta_rng_below(&rng, 0), 0);
    assert_int_equal(manta_rng_below(&rng, 1), 0);
}

/* Without rejection half of the results would be multiples of three. */
static void below_rejects_what_would_be_biased(void **state)
{
    enum { N = 300000 };
    const uint64_t third = (uint64_t)1 << 62, n = 3 * third;
    manta_rng rng = manta_rng_stream(3, 3);
    uint64_t odd = 0, count[3] = {0};
    for (int i = 0; i < N; i++) {
        uint64_t k = manta_rng_below(&rng, n);
        assert_true(k < n);
        count[k / third]++;
        odd += k % 3 == 0;
    }
    for (int k = 0; k < 3; k++) {
        assert_true(fabs((double)count[k] - N / 3.0) < 5 * sqrt(N * 2.0 / 9));
    }
    assert_true(fabs((double)odd - N / 3.0) < 5 * sqrt(N * 2.0 / 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_block_is_the_known_answer),
        cmocka_unit_test(the_plain_form_gives_the_other_known_answers),
        cmocka_unit_test(every_number_is_the_function_of_seed_stream_and_position),
        cmocka_unit_test(skipping_equals_drawing),
        cmocka_unit_test(a_far_skip_is_the_block_of_that_number),
        cmocka_unit_test(a_copy_goes_on_alone),
        cmocka_unit_test(mixed_kinds_of_draws_use_one_number_each),
        cmocka_unit_test(uniform_is_below_one_and_has_its_moments),
        cmocka_unit_test(neighbouring_streams_are_uncorrelated),
        cmocka_unit_test(every_bit_is_set_half_of_the_time),
        cmocka_unit_test(normal_inverts_the_distribution_function),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(below_is_in_range_and_even),
        cmocka_unit_test(below_rejects_what_would_be_biased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
