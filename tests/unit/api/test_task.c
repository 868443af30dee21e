/* MANTA_TASK in C17: everything in task_checks.h, and what only C does. */
#include "task_checks.h"

static const manta_options *kept;

static void options_live_as_long_as_their_block(void **state)
{
    kept = MANTA_OPTIONS(.timeout_ns = 5);
    square_async(kept, 7);
    assert_int_equal(fake.options.timeout_ns, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TASK_CHECKS(TASK_CHECK)
                                           TASK_CHECK(options_live_as_long_as_their_block)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
