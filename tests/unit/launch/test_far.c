/*
 * Addresses over the bootstrap: a rank without memory for them says so to all, and none waits. The
 * other rank is made here, as an echo of this one; the ends are those of far_plugin.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "comm/comm.h"
#include "launch/far.h"

#include <stdlib.h>
#include <string.h>

enum { RANKS = 2, MINE_MAX = 1024, EXCHANGES = 3 };

static uint8_t last[MINE_MAX]; /* what this rank gave in the last exchange */
static uint8_t
    failure[MINE_MAX]; /* what the other says in the exchange number failure_at; 0: never */
static unsigned exchanges, failure_at, timeout_at;
static union card_page cards[RANKS];
static char text[512];
static struct far *far;

static int allgather(const void *mine, size_t bytes, void *all, uint64_t timeout_ns)
{
    assert_in_range(bytes, 1, MINE_MAX);
    exchanges++;
    if (exchanges == timeout_at) {
        return MANTA_E_TIMEOUT;
    }
    memcpy(last, mine, bytes);
    memcpy(all, mine, bytes);
    memcpy((uint8_t *)all + bytes, exchanges == failure_at ? failure : mine, bytes);
    return MANTA_OK;
}

static int open_far(void)
{
    static const struct boot boot = {.rank = 0, .size = RANKS, .allgather = allgather};
    const struct far_options options = {.host = &base_host_real, .boot = &boot, .cards = cards};
    exchanges = 0;
    memset(last, 0, sizeof last);
    text[0] = '\0';
    return far_open(&options, &far, text, sizeof text);
}

static int32_t code_given(void)
{
    int32_t code;
    memcpy(&code, last, sizeof code);
    return code;
}

static void a_rank_without_memory_takes_part_and_says_so(void **state)
{
    bool has_left_early = false, has_failed_late = false;
    assert_int_equal(open_far(), MANTA_OK); /* loads the plugin */
    far_close(far);
    uint64_t live = base_alloc_live();
    for (uint64_t k = 1;; k++) {
        base_alloc_fail_at(k);
        int code = open_far();
        uint64_t asked = base_alloc_asked();
        base_alloc_fail_at(0);
        if (code == MANTA_OK && asked < k) {
            far_close(far);
            break;
        }
        assert_int_equal(code, MANTA_E_NOMEM);
        assert_int_equal(base_alloc_live(), live);
        assert_null(strstr(text, "in time"));
        if (exchanges == 0) { /* before there is room for any answer */
            assert_non_null(strstr(text, "no memory"));
            has_left_early = true;
            continue;
        }
        assert_int_equal(code_given(), MANTA_E_NOMEM);
        if (exchanges == 2) {
            assert_non_null(
                strstr(text, "rank 0 on here has no memory for the addresses of 2 ranks"));
            memcpy(failure, last, sizeof failure);
            has_failed_late = true;
        }
    }
    assert_true(has_left_early && has_failed_late);
}

/* With what a rank without memory gave above. */
static void a_rank_whose_neighbour_has_no_memory_fails_with_that_reason(void **state)
{
    uint64_t live = base_alloc_live();
    for (failure_at = 1; failure_at <= 2; failure_at++) {
        assert_int_equal(open_far(), MANTA_E_NOMEM);
        assert_int_equal(exchanges, failure_at);
        assert_non_null(strstr(text, "rank 1 on there has no memory for the addresses of 2 ranks"));
        assert_int_equal(base_alloc_live(), live);
    }
    failure_at = 0;
}

static void a_rank_that_is_missing_is_told_as_that(void **state)
{
    for (timeout_at = 1; timeout_at <= EXCHANGES; timeout_at++) {
        assert_int_equal(open_far(), MANTA_E_TIMEOUT);
        assert_non_null(strstr(text, "did not exchange their addresses in time"));
    }
    timeout_at = 0;
}

static void later_incarnations_are_greater(void **state)
{
    uint64_t before = 0;
    for (int i = 0; i < 20; i++) {
        uint64_t now;
        assert_int_equal(open_far(), MANTA_OK);
        assert_int_equal(exchanges, EXCHANGES);
        memcpy(&now, last, sizeof now); /* the address, which is the incarnation */
        assert_true(now > before);
        before = now;
        far_close(far);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_without_memory_takes_part_and_says_so),
        cmocka_unit_test(a_rank_whose_neighbour_has_no_memory_fails_with_that_reason),
        cmocka_unit_test(a_rank_that_is_missing_is_told_as_that),
        cmocka_unit_test(later_incarnations_are_greater)};
    setenv("MANTA_UCX_LIBRARY", argv[1], 1);
    strcpy(cards[0].card.host, "here");
    strcpy(cards[1].card.host, "there");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
