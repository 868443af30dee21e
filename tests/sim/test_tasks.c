/*
 * Tasks on virtual ranks: every kind of argument, nesting, maps, queues, errors, cancelling. Each
 * driver checks its own answers; world_check that nothing hung and every count ended at zero.
 */
#define TEST_NAME "tasks"
#include "behaviours.h"

MANTA_TASK(fibonacci, val(int32_t, n), out(int64_t, y))
{
    int64_t a = 1, b = 0;
    if (n >= 2) {
        manta_ref first = fibonacci_async(NULL, n - 1), second = fibonacci_async(NULL, n - 2);
        MANTA_TRY(fibonacci_get(first, &a));
        MANTA_TRY(fibonacci_get(second, &b));
    }
    *y = n == 0 ? 0 : a + b;
    return MANTA_OK;
}

MANTA_TASK(refuse, val(int32_t, code))
{
    return manta_fail(code, "asked to fail with %d", code);
}

MANTA_TASK(index_squared, out(int64_t, y))
{
    core_work(1000);
    *y = (int64_t)(manta_map_index() * manta_map_index());
    return manta_map_index() == 77 ? manta_fail(5, "77 is refused") : MANTA_OK;
}

MANTA_TASK(describe, text(name), span(double, xs), out(double, sum), outv(char, line))
{
    char *copy = (char *)manta_outv_alloc(line, strlen(name) + 1);
    memcpy(copy, name, strlen(name) + 1);
    for (size_t i = 0; i < xs_len; i++) {
        *sum += xs[i];
    }
    return MANTA_OK;
}

MANTA_TASK(spread, val(int32_t, n), outrefs(parts))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, (size_t)n);
    for (int32_t i = 0; i < n; i++) {
        refs[i] = square_async(NULL, i);
    }
    return MANTA_OK;
}

MANTA_TASK(sum_refs, refs(parts), out(int64_t, total))
{
    for (size_t i = 0; i < parts_len; i++) {
        int64_t y;
        MANTA_TRY(square_get(parts[i], &y));
        *total += y;
    }
    return MANTA_OK;
}

MANTA_TASK(double_all, inout(int64_t, x))
{
    for (size_t i = 0; i < x_len; i++) {
        x[i] *= 2;
    }
    return MANTA_OK;
}

MANTA_TASK(wait_for_cancel, val(uint64_t, step_ns))
{
    while (!manta_cancelled()) {
        core_work(step_ns);
    }
    return MANTA_E_CANCELLED;
}

static int values_round_trip(int argc, char **argv)
{
    double xs[] = {1.5, 2.5, 3.0}, sum;
    const char *line;
    size_t length;
    struct describe_refs refs = describe_async(NULL, "a name", xs, 3);
    CHECK(describe_get(refs, &sum, &line, &length) == MANTA_OK);
    CHECK(sum == 7.0 && length == 7 && strcmp(line, "a name") == 0);
    return 0;
}

static int chain_of_100(int argc, char **argv)
{
    int64_t y;
    manta_ref ref = square_async(NULL, 0);
    for (int i = 0; i < 100; i++) {
        ref = increment_async(NULL, ref);
    }
    CHECK(increment_get(ref, &y) == MANTA_OK && y == 100);
    return 0;
}

static int nested_tasks_block_on_each_other(int argc, char **argv)
{
    int64_t y;
    CHECK(fibonacci_get(fibonacci_async(NULL, 12), &y) == MANTA_OK && y == 144);
    return 0;
}

static int errors_name_task_and_cause(int argc, char **argv)
{
    int64_t y = -1;
    manta_ref bad = refuse_async(NULL, 9);
    CHECK(refuse_get(bad) == 9);
    CHECK(strcmp(manta_last_error()->task, "refuse") == 0 && manta_last_error()->attempt == 1);
    CHECK(increment_get(increment_async(NULL, bad), &y) == MANTA_E_DEPENDENCY && y == -1);
    CHECK(manta_last_error()->cause_code == 9 &&
          strcmp(manta_last_error()->cause_task, "refuse") == 0);
    return 0;
}

static int failure_runs_down_a_long_chain(int argc, char **argv)
{
    int64_t y;
    manta_ref ref = refuse_async(NULL, 3);
    for (int i = 0; i < 20000; i++) {
        ref = increment_async(NULL, ref);
    }
    CHECK(increment_get(ref, &y) == MANTA_E_DEPENDENCY && manta_last_error()->cause_code == 3);
    return 0;
}

static int map_keeps_order_and_errors(int argc, char **argv)
{
    enum { N = 3000 };
    static int64_t values[N];
    static int32_t codes[N];
    manta_ref map = index_squared_map(NULL, N);
    CHECK(manta_map_get(map, values, sizeof values[0], N, codes) == 5);
    for (int i = 0; i < N; i++) {
        CHECK(codes[i] == (i == 77 ? 5 : 0) && (i == 77 || values[i] == (int64_t)i * i));
    }
    int64_t y;
    CHECK(increment_get(increment_async(NULL, manta_map_at(map, 10)), &y) == MANTA_OK && y == 101);
    return 0;
}

/* The element is the first failure of the job, and the task waits for it while the map runs. */
static int an_element_that_fails_fails_who_takes_it(int argc, char **argv)
{
    int64_t y;
    manta_ref map = index_squared_map(NULL, 3000);
    manta_ref good = increment_async(NULL, manta_map_at(map, 10));
    manta_ref bad = increment_async(NULL, manta_map_at(map, 77));
    CHECK(increment_get(bad, &y) == MANTA_E_DEPENDENCY && manta_last_error()->cause_code == 5);
    CHECK(increment_get(good, &y) == MANTA_OK && y == 101);
    return 0;
}

MANTA_TASK(muse_by_index, out(int64_t, y))
{
    *y = 0;
    (void)(manta_map_index() % 2 || manta_fail(5, "somebody else's reason"));
    return manta_map_index() % 2 ? 5 : MANTA_OK;
}

static int an_element_that_fails_has_a_reason_of_its_own(int argc, char **argv)
{
    manta_error error;
    manta_ref map = muse_by_index_map(NULL, 8);
    CHECK(manta_wait(&map, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    for (uint64_t i = 1; i < 8; i += 2) {
        CHECK(manta_ref_error(manta_map_at(map, i), &error) == MANTA_OK && error.code == 5);
        CHECK(strstr(error.text, "it returned this code"));
    }
    return 0;
}

static int refs_travel_in_values_and_arguments(int argc, char **argv)
{
    const manta_ref *parts;
    size_t count;
    int64_t total;
    manta_ref made = spread_async(NULL, 20);
    CHECK(spread_get(made, &parts, &count) == MANTA_OK && count == 20);
    manta_ref sum = sum_refs_async(NULL, parts, count);
    CHECK(manta_drop(made) == MANTA_OK);
    CHECK(sum_refs_get(sum, &total) == MANTA_OK && total == 2470);
    return 0;
}

static int inout_consumes_and_yields(int argc, char **argv)
{
    const int64_t *x;
    size_t length;
    manta_ref ref = square_async(NULL, 3), twice = double_all_async(NULL, ref);
    CHECK(double_all_get(twice, &x, &length) == MANTA_OK && length == 1 && *x == 18);
    CHECK(manta_drop(ref) == MANTA_E_NOTFOUND);
    return 0;
}

static int cancel_reaches_a_running_task(int argc, char **argv)
{
    manta_ref ref = wait_for_cancel_async(NULL, 10000);
    CHECK(manta_wait(&ref, 1, 1, 2000000, NULL) == MANTA_E_TIMEOUT);
    CHECK(manta_cancel(ref) == MANTA_OK && wait_for_cancel_get(ref) == MANTA_E_CANCELLED);
    return 0;
}

static int time_limit_is_an_error(int argc, char **argv)
{
    manta_options options = {.timeout_ns = 3000000};
    CHECK(wait_for_cancel_get(wait_for_cancel_async(&options, 10000)) == MANTA_E_TIMEOUT);
    return 0;
}

static int queue_gives_all_once(int argc, char **argv)
{
    enum { N = 300 };
    uint8_t seen[N] = {0};
    manta_queue *queue;
    manta_ref ref;
    void *label;
    CHECK(manta_queue_create(&queue) == MANTA_OK);
    for (uintptr_t i = 0; i < N; i++) {
        CHECK(manta_queue_add(queue, square_async(NULL, (int64_t)i), (void *)i) == MANTA_OK);
    }
    for (int i = 0; i < N; i++) {
        CHECK(manta_queue_next(queue, MANTA_FOREVER, &ref, &label) == MANTA_OK &&
              !seen[(uintptr_t)label]);
        seen[(uintptr_t)label] = 1;
    }
    CHECK(manta_queue_next(queue, 0, &ref, &label) == MANTA_E_NOTFOUND);
    manta_queue_destroy(queue);
    return 0;
}

static int unfinished_work_is_cancelled_at_the_end(int argc, char **argv)
{
    for (int i = 0; i < 50; i++) {
        (void)wait_for_cancel_async(NULL, 1000);
    }
    return 0;
}

/* Works for a while, then wants a value whose owner does something else meanwhile. */
MANTA_TASK(ask_later, ref(value), out(int32_t, in_time))
{
    core_work(20000000);
    *in_time = manta_wait(&value, 1, 1, 5000000, NULL) == MANTA_OK;
    return MANTA_OK;
}

static int a_computing_driver_still_answers(int argc, char **argv)
{
    int64_t y;
    int32_t in_time = 0;
    manta_world world;
    CHECK(manta_world_get(&world) == MANTA_OK);
    manta_options last = {.rank = MANTA_ON(world.size - 1)};
    manta_ref value = square_async(NULL, 5), asked = ask_later_async(&last, value);
    CHECK(square_get(value, &y) == MANTA_OK && y == 25);
    core_work(200000000);
    CHECK(ask_later_get(asked, &in_time) == MANTA_OK && in_time);
    return 0;
}

static int ran_to_the_end;

MANTA_TASK(long_child, val(int32_t, steps))
{
    for (int32_t i = 0; i < steps; i++) {
        core_work(100000);
        if (manta_cancelled()) {
            return MANTA_E_CANCELLED;
        }
    }
    ran_to_the_end++;
    return MANTA_OK;
}

MANTA_TASK(waiting_parent, val(int32_t, steps))
{
    return long_child_get(long_child_async(NULL, steps));
}

static int cancelling_a_parent_cancels_the_child_it_waits_for(int argc, char **argv)
{
    manta_ref parent = waiting_parent_async(NULL, 10000);
    ran_to_the_end = 0;
    CHECK(manta_wait(&parent, 1, 1, 5000000, NULL) == MANTA_E_TIMEOUT);
    CHECK(manta_cancel(parent) == MANTA_OK && waiting_parent_get(parent) == MANTA_E_CANCELLED);
    core_work(UINT64_C(2000000000));
    CHECK(ran_to_the_end == 0);
    return 0;
}

static int cancelling_a_map_stops_it(int argc, char **argv)
{
    enum { N = 3000 };
    static int32_t codes[N];
    ran_to_the_end = 0;
    manta_ref map = long_child_map(NULL, N, 10);
    CHECK(manta_wait(&map, 1, 1, 5000000, NULL) == MANTA_E_TIMEOUT);
    CHECK(manta_cancel(map) == MANTA_OK);
    CHECK(manta_map_get(map, NULL, 0, N, codes) == MANTA_E_CANCELLED &&
          codes[N - 1] == MANTA_E_CANCELLED);
    core_work(UINT64_C(2000000000));
    CHECK(ran_to_the_end < 200);
    return 0;
}

#define EACH_DRIVER(X)                                                                             \
    X(values_round_trip)                                                                           \
    X(chain_of_100)                                                                                \
    X(nested_tasks_block_on_each_other)                                                            \
    X(errors_name_task_and_cause)                                                                  \
    X(failure_runs_down_a_long_chain)                                                              \
    X(map_keeps_order_and_errors)                                                                  \
    X(an_element_that_fails_has_a_reason_of_its_own)                                               \
    X(an_element_that_fails_fails_who_takes_it)                                                    \
    X(refs_travel_in_values_and_arguments)                                                         \
    X(inout_consumes_and_yields)                                                                   \
    X(cancel_reaches_a_running_task)                                                               \
    X(time_limit_is_an_error)                                                                      \
    X(a_computing_driver_still_answers)                                                            \
    X(cancelling_a_parent_cancels_the_child_it_waits_for)                                          \
    X(cancelling_a_map_stops_it)                                                                   \
    X(queue_gives_all_once)                                                                        \
    X(unfinished_work_is_cancelled_at_the_end)

EACH_DRIVER(TEST)

/* Waits for its children by manta_wait and a queue, so nothing is run on the waiter's stack but for
 * want of stacks. */
MANTA_TASK(wide, val(int32_t, depth), out(int64_t, leaves))
{
    enum { FAN = 3 };
    manta_ref parts[FAN];
    manta_queue *queue;
    int64_t part;
    if (depth == 0) {
        *leaves = 1;
        return MANTA_OK;
    }
    MANTA_TRY(manta_queue_create(&queue));
    for (int i = 0; i < FAN; i++) {
        parts[i] = wide_async(NULL, depth - 1);
        MANTA_TRY(manta_queue_add(queue, parts[i], NULL));
    }
    int code = depth % 2 ? manta_wait(parts, FAN, FAN, MANTA_FOREVER, NULL) : MANTA_OK;
    for (int i = 0; i < FAN && code == MANTA_OK; i++) {
        manta_ref ref;
        code = manta_queue_next(queue, MANTA_FOREVER, &ref, NULL);
    }
    manta_queue_destroy(queue);
    for (int i = 0; i < FAN && code == MANTA_OK; i++) {
        code = wide_get(parts[i], &part);
        *leaves += part;
    }
    return code;
}

MANTA_TASK(deep, val(int32_t, depth), out(int32_t, reached))
{
    *reached = 0;
    if (depth > 0) {
        MANTA_TRY(deep_get(deep_async(NULL, depth - 1), reached));
    }
    ++*reached;
    return MANTA_OK;
}

static int few_stacks_are_enough_for_width(int argc, char **argv)
{
    int64_t leaves;
    CHECK(wide_get(wide_async(NULL, 6), &leaves) == MANTA_OK && leaves == 729);
    CHECK(fibonacci_get(fibonacci_async(NULL, 11), &leaves) == MANTA_OK && leaves == 89);
    return 0;
}

static int too_deep_is_a_named_error(int argc, char **argv)
{
    int32_t reached;
    CHECK(deep_get(deep_async(NULL, 20), &reached) == MANTA_OK && reached == 21);
    CHECK(deep_get(deep_async(NULL, 20000), &reached) == MANTA_E_STACK);
    CHECK(strcmp(manta_last_error()->task, "deep") == 0);
    return 0;
}

static void test_at_the_stack_cap(void **state)
{
    uint64_t first, count;
    world_seeds(10, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {
            .seed = seed, .ranks = 1 + (uint32_t)(seed % 4), .workers = 1, .parked_max = 2};
        struct world_result result;
        assert_int_equal(world_run(&options, few_stacks_are_enough_for_width, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
        assert_int_equal(world_run(&options, too_deep_is_a_named_error, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    }
}

static int a_failing_task_is_tried_six_times(int argc, char **argv)
{
    manta_ref ref = refuse_async(MANTA_OPTIONS(.retries = 5, .retry_errors = 1), 7);
    manta_ref cancelled = refuse_async(MANTA_OPTIONS(.retries = 5, .retry_errors = 1), 8);
    CHECK(manta_wait(&cancelled, 1, 1, 15000000, NULL) ==
          MANTA_E_TIMEOUT); /* it waits for its turn */
    CHECK(manta_cancel(cancelled) == MANTA_OK);
    CHECK(refuse_get(cancelled) == MANTA_E_CANCELLED);
    CHECK(refuse_get(ref) == 7);
    CHECK(manta_last_error()->attempt == 6);
    return 0;
}

/* 0, 0, 10, 20, 40, 80 ms: virtual time passes as long as that, and not much more. */
static void test_retries_wait_longer_and_longer(void **state)
{
    for (uint32_t ranks = 1; ranks <= 3; ranks++) {
        struct world_options options = {.seed = ranks, .ranks = ranks, .workers = 1};
        struct world_result result;
        assert_int_equal(world_run(&options, a_failing_task_is_tried_six_times, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
        assert_in_range(result.time_ns, 150000000, 200000000);
    }
}

static void test_same_seed_same_trace(void **state)
{
    struct world_options options = {.seed = 42, .ranks = 5};
    struct world_result one, two, other;
    assert_int_equal(world_run(&options, nested_tasks_block_on_each_other, &one), 0);
    assert_int_equal(world_run(&options, nested_tasks_block_on_each_other, &two), 0);
    options.seed = 43;
    assert_int_equal(world_run(&options, nested_tasks_block_on_each_other, &other), 0);
    assert_true(one.trace == two.trace && one.events == two.events && one.time_ns == two.time_ns);
    assert_true(one.trace != other.trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {EACH_DRIVER(ENTRY) cmocka_unit_test(test_at_the_stack_cap),
                                       cmocka_unit_test(test_retries_wait_longer_and_longer),
                                       cmocka_unit_test(test_same_seed_same_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
