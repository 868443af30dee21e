/* The keyed hash against its paper, and that a proof depends on every bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/proof.h"

enum { BYTES = 37 };

static void siphash_is_that_of_its_paper(void **state)
{
    uint8_t key[16], message[15];
    for (uint8_t i = 0; i < 16; i++) {
        key[i] = i;
        message[i % 15] = i % 15;
    }
    assert_int_equal(base_siphash(key, message, 15), UINT64_C(0xa129ca6149be45e5));
}

static void check_each_bit_matters(uint8_t *bytes, size_t count, const uint8_t *secret,
                                   const uint8_t *message)
{
    struct base_proof right = base_prove(secret, message, BYTES);
    for (size_t bit = 0; bit < 8 * count; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct base_proof wrong = base_prove(secret, message, BYTES);
        assert_false(base_proof_is_equal(&right, &wrong));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    struct base_proof again = base_prove(secret, message, BYTES);
    assert_true(base_proof_is_equal(&right, &again));
}

static void every_bit_of_secret_and_message_matters(void **state)
{
    uint8_t secret[BASE_SECRET_BYTES] = {1, 2, 3}, message[BYTES] = {4, 5, 6};
    check_each_bit_matters(secret, sizeof secret, secret, message);
    check_each_bit_matters(message, sizeof message, secret, message);
}

static void each_half_is_compared(void **state)
{
    struct base_proof a = {{1, 2}}, first = {{3, 2}}, second = {{1, 3}};
    assert_false(base_proof_is_equal(&a, &first));
    assert_false(base_proof_is_equal(&a, &second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_that_of_its_paper),
        cmocka_unit_test(every_bit_of_secret_and_message_matters),
        cmocka_unit_test(each_half_is_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
