/*
 * Behaviour 10 for C++: what a body throws becomes an error record. In a file of its own because
 * the room's headers are C; test_behaviours.c runs the driver.
 */
#include <manta/manta.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>

extern "C" int behaviour_10_exceptions_are_error_records(int argc, char **argv);

namespace {

int alive;

struct counted {
    counted()
    {
        alive++;
    }
    ~counted()
    {
        alive--;
    }
};

void throw_deep(int kind, int depth)
{
    counted one;
    if (depth > 0) {
        throw_deep(kind, depth - 1);
    } else if (kind == 0) {
        throw std::runtime_error("the grid has no row 7");
    } else if (kind == 1) {
        throw 42;
    }
}

MANTA_TASK(throwing, val(int32_t, kind), out(int64_t, y))
{
    counted one;
    throw_deep(kind, 20);
    *y = 5;
    return MANTA_OK;
}

MANTA_TASK(after, in(int64_t, x), out(int64_t, y))
{
    *y = x[0];
    return MANTA_OK;
}

MANTA_TASK(throwing_after_waiting, val(int32_t, kind))
{
    int64_t y;
    int code = throwing_get(throwing_async(NULL, kind), &y);
    if (code != MANTA_OK) {
        throw std::runtime_error(manta_last_error()->text);
    }
    return MANTA_OK;
}

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            std::printf("%s:%d: %s\n", __func__, __LINE__, #what);                                 \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

} // namespace

int behaviour_10_exceptions_are_error_records(int, char **)
{
    int64_t y = -1;
    manta_ref bad = throwing_async(NULL, 0);
    CHECK(throwing_get(bad, &y) == MANTA_E_EXCEPTION && y == -1 && alive == 0);
    CHECK(std::strcmp(manta_last_error()->text, "the grid has no row 7") == 0);
    CHECK(std::strcmp(manta_last_error()->task, "throwing") == 0 && manta_last_error()->line > 0);
    CHECK(after_get(after_async(NULL, bad), &y) == MANTA_E_DEPENDENCY);
    CHECK(manta_last_error()->cause_code == MANTA_E_EXCEPTION);
    CHECK(throwing_get(throwing_async(NULL, 1), &y) == MANTA_E_EXCEPTION && alive == 0);
    CHECK(std::strstr(manta_last_error()->text, "no std::exception") != NULL);
    CHECK(throwing_get(throwing_async(NULL, 2), &y) == MANTA_OK && y == 5);
    CHECK(throwing_after_waiting_get(throwing_after_waiting_async(NULL, 0)) == MANTA_E_EXCEPTION);
    CHECK(std::strcmp(manta_last_error()->text, "the grid has no row 7") == 0);
    manta_options retried = {};
    retried.retry_errors = 1;
    CHECK(throwing_get(throwing_async(&retried, 0), &y) == MANTA_E_EXCEPTION);
    CHECK(manta_last_error()->attempt == 4);
    return 0;
}
