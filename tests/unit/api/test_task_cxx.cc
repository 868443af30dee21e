/* MANTA_TASK in C++17: everything in task_checks.h, and what only C++ does. */
#include <complex>

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

#define HAS(T, name) static_assert(MANTA_DTYPE(T) == MANTA_DTYPE_##name, "an element of type " #T)
HAS(bool, BOOL);
HAS(char, BYTES);
HAS(int8_t, INT8);
HAS(short, INT16);
HAS(int, INT32);
HAS(long long, INT64);
HAS(uint8_t, UINT8);
HAS(uint16_t, UINT16);
HAS(unsigned, UINT32);
HAS(size_t, UINT64);
HAS(manta_bfloat16, BFLOAT16);
HAS(float, FLOAT32);
HAS(double, FLOAT64);
HAS(std::complex<float>, COMPLEX64);
HAS(std::complex<double>, COMPLEX128);
HAS(std::complex<long double>, BYTES);
HAS(manta_layout, BYTES);

void a_layout_takes_any_numbers(void **)
{
    int rows = 3;
    size_t columns = 4;
    manta_layout layout = MANTA_LAYOUT(double, rows, columns);
    assert_int_equal(layout.dims, 2);
    assert_int_equal(manta_layout_count(&layout), 12);
    layout = MANTA_LAYOUT(float, 1, 2, 3, 4, 5, 6, 7, 8);
    assert_int_equal(layout.dims, 8);
    assert_int_equal(layout.shape[7], 8);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {TASK_CHECKS(TASK_CHECK) TASK_CHECK(an_exception_becomes_an_error)
                                    TASK_CHECK(a_layout_takes_any_numbers)
                                        TASK_CHECK(options_may_use_local_values)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
