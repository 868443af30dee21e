/*
 * Behaviours 62 to 64: cancelling, from wherever a ref was handed to; and, of 79, refs that are
 * lost inside values.
 */
#define TEST_NAME "cancels" /* in meson.build */
#include "behaviours.h"

#include "core/object.h"

/* ---- 62 to 64: cancel ----------------------------------------------------------------------- */

static int behaviour_62_cancel_fails_dependents_not_upstream(int argc, char **argv)
{
    int64_t y;
    manta_ref up = compute_async(NULL, 5 * MS), middle = increment_async(NULL, up);
    manta_ref down = increment_async(NULL, middle), further = increment_async(NULL, down);
    CHECK(manta_cancel(middle) == MANTA_OK);
    CHECK(increment_get(middle, &y) == MANTA_E_CANCELLED);
    CHECK(increment_get(down, &y) == MANTA_E_DEPENDENCY &&
          manta_last_error()->cause_code == MANTA_E_CANCELLED);
    CHECK(increment_get(further, &y) == MANTA_E_DEPENDENCY &&
          manta_last_error()->cause_code == MANTA_E_CANCELLED);
    CHECK(compute_get(up, &y) == MANTA_OK && y == (int64_t)(5 * MS));
    CHECK(manta_cancel(up) == MANTA_OK &&
          compute_get(up, &y) == MANTA_OK); /* too late: left alone */
    CHECK(manta_cancel(middle) == MANTA_OK && increment_get(middle, &y) == MANTA_E_CANCELLED);
    return 0;
}

static int behaviour_62_cancel_reaches_every_state(int argc, char **argv)
{
    enum { N = 30 };
    manta_ref refs[N];
    int64_t y;
    for (int i = 0; i < N; i++) { /* some run, some are queued there, some wait here */
        manta_options options = {.rank = MANTA_ON((uint32_t)i % world_size())};
        refs[i] = until_cancelled_async(&options, 1000);
    }
    core_work(MS);
    for (int i = 0; i < N; i++) {
        CHECK(manta_cancel(refs[i]) == MANTA_OK);
        CHECK(until_cancelled_get(refs[i], &y) == MANTA_E_CANCELLED);
    }
    return 0;
}

/* Runs until it is cancelled, but leaves its worker to others again and again. */
MANTA_TASK(nap_until_cancelled, val(uint64_t, step_ns), out(int64_t, y))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    manta_options here = {.rank = MANTA_ON(world.rank)};
    while (!manta_cancelled()) {
        manta_ref nap = compute_async(&here, step_ns);
        MANTA_TRY(manta_wait(&nap, 1, 1, MANTA_FOREVER, NULL));
        MANTA_TRY(manta_drop(nap));
    }
    return MANTA_E_CANCELLED;
}

MANTA_TASK(hand_out, val(int32_t, n), outrefs(children))
{
    manta_ref *made = (manta_ref *)manta_outv_alloc(children, (size_t)n);
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    manta_options here = {.rank = MANTA_ON(world.rank)};
    for (int32_t i = 0; i < n; i++) {
        made[i] = nap_until_cancelled_async(&here, 10000);
    }
    return MANTA_OK;
}

MANTA_TASK(cancel_it, ref(victim))
{
    return manta_cancel(victim);
}

MANTA_TASK(cancel_inside, refs(victims), out(int64_t, cancelled))
{
    for (size_t i = 0; i < victims_len; i++) {
        int64_t y;
        MANTA_TRY(manta_cancel(victims[i]));
        *cancelled += nap_until_cancelled_get(victims[i], &y) == MANTA_E_CANCELLED;
    }
    return MANTA_OK;
}

static int behaviour_63_a_borrower_cancels_another_tasks_child(int argc, char **argv)
{
    const manta_ref *child;
    size_t count;
    int64_t y;
    manta_options far = on_far();
    CHECK(hand_out_get(hand_out_async(&far, 3), &child, &count) == MANTA_OK && count == 3);
    CHECK(manta_wait(child, 3, 1, MS, NULL) == MANTA_E_TIMEOUT);
    for (int i = 0; i < 3; i++) {
        CHECK(manta_cancel(child[i]) == MANTA_OK &&
              nap_until_cancelled_get(child[i], &y) == MANTA_E_CANCELLED);
    }
    return 0;
}

static int behaviour_63_a_task_cancels_with_a_borrowed_ref(int argc, char **argv)
{
    const manta_ref *children;
    size_t count;
    int64_t y, cancelled;
    manta_options far = on_far(), first = {.rank = MANTA_ON(0), .priority = 7};
    CHECK(hand_out_get(hand_out_async(&far, 5), &children, &count) == MANTA_OK && count == 5);
    CHECK(cancel_it_get(cancel_it_async(&first, children[0])) == MANTA_OK);
    CHECK(manta_get(children[0], &y, sizeof y) == MANTA_E_CANCELLED);
    CHECK(cancel_inside_get(cancel_inside_async(&first, children + 1, 4), &cancelled) == MANTA_OK);
    CHECK(cancelled == 4);
    return 0;
}

static const char words[] =
    "an argument that is too long for the record of its task, so that it lies elsewhere";
static int read_well, read_badly;

/* Looks at its arguments once more after it was cancelled and nobody holds it. */
MANTA_TASK(read_late, text(wanted))
{
    while (!manta_cancelled()) {
        core_work(10000);
    }
    core_work(5 * MS);
    *(strcmp(wanted, words) == 0 ? &read_well : &read_badly) += 1;
    return MANTA_E_CANCELLED;
}

MANTA_TASK(ignore_text, text(other))
{
    return MANTA_OK;
}

static int behaviour_62_a_cancelled_body_keeps_its_arguments(int argc, char **argv)
{
    char other[sizeof words];
    manta_options here = {.rank = MANTA_ON(0)};
    manta_ref ref = read_late_async(&here, words);
    read_well = read_badly = 0;
    CHECK(manta_wait(&ref, 1, 1, MS, NULL) == MANTA_E_TIMEOUT);
    CHECK(manta_cancel(ref) == MANTA_OK && manta_drop(ref) == MANTA_OK);
    memset(other, 'x', sizeof other - 1);
    other[sizeof other - 1] = '\0';
    for (int i = 0; i < 200; i++) {
        (void)ignore_text_async(NULL, other);
    }
    core_work(20 * MS);
    CHECK(read_well == 1 && read_badly == 0);
    return 0;
}

MANTA_TASK(maybe_long, val(uint64_t, work_ns), in(int64_t, before), out(int64_t, y))
{
    for (uint64_t done_ns = 0; done_ns < work_ns; done_ns += 1000) {
        if (manta_cancelled()) {
            return MANTA_E_CANCELLED;
        }
        core_work(1000);
    }
    *y = before[0] + 1;
    return MANTA_OK;
}

static int behaviour_64_random_cancels_all_terminate(int argc, char **argv)
{
    enum { CHAINS = 1700, LENGTH = 3, N = CHAINS * LENGTH };
    static manta_ref refs[N];
    manta_rng rng = manta_rng_stream(11, world_size());
    unsigned values = 0, cancelled = 0, derived = 0;
    for (int i = 0; i < N; i++) {
        refs[i] = i % LENGTH == 0
                      ? compute_async(NULL, manta_rng_u64(&rng) % 20000)
                      : maybe_long_async(NULL, manta_rng_u64(&rng) % 20000, refs[i - 1]);
        if (i > 10 && manta_rng_u64(&rng) % 8 == 0) {
            CHECK(manta_cancel(refs[manta_rng_u64(&rng) % (uint64_t)i]) == MANTA_OK);
        }
    }
    for (int i = 0; i < N / 8; i++) {
        CHECK(manta_cancel(refs[manta_rng_u64(&rng) % N]) == MANTA_OK);
        if (i % 16 == 0) {
            core_work(20000);
        }
    }
    for (int i = 0; i < N; i++) {
        int64_t y;
        int code = manta_get(refs[i], &y, sizeof y);
        values += code == MANTA_OK;
        cancelled += code == MANTA_E_CANCELLED;
        derived +=
            code == MANTA_E_DEPENDENCY && manta_last_error()->cause_code == MANTA_E_CANCELLED;
    }
    CHECK(values + cancelled + derived == N && values > 0 && cancelled > 0 && derived > 0);
    return 0;
}

/* Its child is elsewhere. */
MANTA_TASK(until_both_stop, val(uint32_t, where))
{
    manta_options there = {.rank = MANTA_ON(where)};
    (void)until_cancelled_async(&there, 1000);
    while (!manta_cancelled()) {
        core_work(10000);
    }
    return MANTA_E_CANCELLED;
}

/* The rank that its id's home is going to be, while all live. */
static uint32_t home_of_next(manta_ref before)
{
    uint8_t none[8] = {0};
    return sched_home(core_task_id(before.parent, before.position + 1), world_size(), none);
}

/* A parent's rank dies before it can tell the child, and so does the home, which its owner tells
 * that it will not run again. */
static int cancel_with_the_home_gone(int argc, char **argv)
{
    enum { PARENT = 1, CHILD = 2 };
    manta_options at_parent = {.rank = MANTA_ON(PARENT)}, at_child = {.rank = MANTA_ON(CHILD)};
    manta_ref ref = compute_async(NULL, 1000);
    while (home_of_next(ref) <= CHILD) {
        ref = compute_async(NULL, 1000);
    }
    uint32_t dead[] = {PARENT, home_of_next(ref)};
    manta_ref parent = until_both_stop_async(&at_parent, CHILD);
    core_work(5 * MS);
    CHECK(manta_cancel(parent) == MANTA_OK);
    world_kill_all(dead, 2);
    manta_ref after = compute_async(&at_child, 1000);
    CHECK(manta_wait(&after, 1, 1, 100 * MS, NULL) == MANTA_OK);
    return 0;
}

static void a_child_stops_though_the_home_dies_too(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world_options options = {.seed = seed, .ranks = 6, .will_kill = true};
        struct world_result result;
        assert_int_equal(world_run(&options, cancel_with_the_home_gone, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    }
}

/* What a value names may be lost for good before anybody looks at it. */
static int view_after_the_loss(int argc, char **argv)
{
    const manta_ref *children;
    size_t count;
    int64_t y;
    manta_options once = {.rank = MANTA_ON(1), .retries = MANTA_NO_RETRY};
    manta_ref made = hand_out_async(&once, 3);
    core_work(20 * MS);
    int code = hand_out_get(made, &children, &count);
    CHECK(code == MANTA_E_RANK || (code == MANTA_OK && count == 3));
    for (size_t i = 0; code == MANTA_OK && i < count; i++) {
        CHECK(manta_get(children[i], &y, sizeof y) == MANTA_E_LOST);
    }
    return 0;
}

static void behaviour_79_a_lost_ref_inside_a_value_does_not_hold_up_the_end(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world_options options = {
            .seed = seed, .ranks = 2, .kills = 1, .kill_within_ns = 300000};
        struct world_result result;
        assert_int_equal(world_run(&options, view_after_the_loss, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    }
}

#define EACH_DRIVER(X)                                                                             \
    X(behaviour_62_cancel_fails_dependents_not_upstream)                                           \
    X(behaviour_62_cancel_reaches_every_state)                                                     \
    X(behaviour_62_a_cancelled_body_keeps_its_arguments)                                           \
    X(behaviour_63_a_borrower_cancels_another_tasks_child)                                         \
    X(behaviour_63_a_task_cancels_with_a_borrowed_ref)                                             \
    X(behaviour_64_random_cancels_all_terminate)
EACH_DRIVER(TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_DRIVER(ENTRY) cmocka_unit_test(a_child_stops_though_the_home_dies_too),
        cmocka_unit_test(behaviour_79_a_lost_ref_inside_a_value_does_not_hold_up_the_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
