/* MANTA_TASK in C++17: everything in task_checks.h, and what only C++ does. */
#include "task_checks.h"

#include <stdexcept>

namespace {

MANTA_TASK(throws, val(int, what))
{
    if (what == 1) {
        throw std::runtime_error("the mesh is empty");
    }
    if (what == 2) {
        throw 42;
    }
    return MANTA_OK;
}

void an_exception_becomes_an_error(void **)
{
    assert_int_equal(throws_get(throws_async(nullptr, 1)), MANTA_E_EXCEPTION);
    assert_string_equal(fake.text, "the mesh is empty");
    assert_int_equal(throws_get(throws_async(nullptr, 2)), MANTA_E_EXCEPTION);
    assert_non_null(strstr(fake.text, "no std::exception"));
    assert_int_equal(throws_get(throws_async(nullptr, 0)), MANTA_OK);
}

void options_may_use_local_values(void **)
{
    int32_t wanted = 4;
    square_async(MANTA_OPTIONS(.retries = wanted + 1, .priority = -wanted), 7);
    assert_int_equal(fake.options.retries, 5);
    assert_int_equal(fake.options.priority, -4);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {TASK_CHECKS(TASK_CHECK) TASK_CHECK(an_exception_becomes_an_error)
                                    TASK_CHECK(options_may_use_local_values)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
