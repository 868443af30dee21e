/*
 * Ten times as much as the store may hold, on disks of all sorts: behaviours 37 to 73 as far as
 * they are about the bound. world_check that nothing is left.
 */
#include "check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STORE = 8 << 20, OBJECTS = 100, OBJECT = 800 << 10, SMALL = 100 << 10 };

/* Every eighth byte tells. */
static void fill(uint64_t *data, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++) {
        data[i] = key * 1000003 + i;
    }
}

static bool is_filled(const uint64_t *data, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++) {
        if (data[i] != key * 1000003 + i) {
            return false;
        }
    }
    return true;
}

MANTA_TASK(make, val(uint64_t, key), val(uint64_t, bytes), outv(uint64_t, xs))
{
    uint64_t *x = (uint64_t *)manta_outv_alloc(xs, bytes / 8);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    fill(x, bytes / 8, key);
    return MANTA_OK;
}

MANTA_TASK(check_one, val(uint64_t, key), in(uint64_t, xs), out(int32_t, is_right))
{
    core_work(20000);
    *is_right = is_filled(xs, xs_len, key);
    return MANTA_OK;
}

MANTA_TASK(check_many, val(uint64_t, first), in(uint64_t, a), in(uint64_t, b), in(uint64_t, c),
           in(uint64_t, d), in(uint64_t, e), in(uint64_t, f), in(uint64_t, g), in(uint64_t, h),
           out(int32_t, is_right))
{
    core_work(20000);
    *is_right = is_filled(a, a_len, first) && is_filled(b, b_len, first + 1) &&
                is_filled(c, c_len, first + 2) && is_filled(d, d_len, first + 3) &&
                is_filled(e, e_len, first + 4) && is_filled(f, f_len, first + 5) &&
                is_filled(g, g_len, first + 6) && is_filled(h, h_len, first + 7);
    return MANTA_OK;
}

/* A result as large as its argument: what it reads is in use while it asks for room. */
MANTA_TASK(pass_on, val(uint64_t, key), in(uint64_t, xs), outv(uint64_t, ys))
{
    if (!is_filled(xs, xs_len, key)) {
        return MANTA_E_TASK;
    }
    uint64_t *y = (uint64_t *)manta_outv_alloc(ys, xs_len);
    if (!y) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    core_work(20000);
    memcpy(y, xs, xs_len * 8);
    return MANTA_OK;
}

MANTA_TASK(change, inout(uint64_t, xs))
{
    for (size_t i = 0; i < xs_len; i++) {
        xs[i] += 1000003;
    }
    return MANTA_OK;
}

/* Items that are small against the store, and far more of them than fit. */
MANTA_TASK(yield_many, val(uint64_t, count), stream(uint64_t, xs))
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *x = (uint64_t *)manta_yield_alloc(xs, SMALL / 8);
        if (!x) {
            return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
        }
        fill(x, SMALL / 8, i);
        MANTA_TRY(manta_yield(xs, x, SMALL / 8));
    }
    return MANTA_OK;
}

/* Views one and makes two: three of these together want more than 6 MiB, and each has a part. */
MANTA_TASK(make_two, ref(xs), outv(uint64_t, ys), outv(uint64_t, zs))
{
    enum { PART = 900 << 10 };
    const void *data;
    size_t bytes;
    MANTA_TRY(manta_view(xs, &data, &bytes));
    core_work(1000000);
    if (!manta_outv_alloc(ys, PART / 8)) {
        return manta_last_error()->code;
    }
    core_work(1000000);
    return manta_outv_alloc(zs, PART / 8) ? MANTA_OK : manta_last_error()->code;
}

/* ---- Drivers -------------------------------------------------------------------------------- */

static int get_right(manta_ref ref, uint64_t bytes, uint64_t key)
{
    static uint64_t back[OBJECT / 8];
    CHECK(manta_get(ref, back, bytes) == MANTA_OK);
    CHECK(is_filled(back, bytes / 8, key));
    return 0;
}

/* The reader keeps them all: 30 times as much as there is memory. */
static int a_stream_of_many_small_items_is_kept_whole(int argc, char **argv)
{
    enum { ITEMS = 300 };
    static manta_ref items[ITEMS];
    manta_ref stream = yield_many_async(NULL, ITEMS), end;
    for (uint64_t i = 0; i < ITEMS; i++) {
        CHECK(manta_next(stream, MANTA_FOREVER, &items[i]) == MANTA_OK);
    }
    CHECK(manta_next(stream, MANTA_FOREVER, &end) == MANTA_E_END);
    for (uint64_t i = 0; i < ITEMS; i++) {
        uint64_t at = i * 7 % ITEMS;
        CHECK(get_right(items[at], SMALL, at) == 0);
        manta_drop(items[at]);
    }
    return 0;
}

static int behaviour_69_ten_times_the_store_is_readable_and_equal(int argc, char **argv)
{
    static uint64_t data[OBJECT / 8];
    manta_ref refs[OBJECTS];
    for (uint64_t i = 0; i < OBJECTS; i++) {
        fill(data, OBJECT / 8, i);
        refs[i] = manta_put(data, OBJECT);
    }
    CHECK(manta_wait(refs, OBJECTS, OBJECTS, 0, NULL) == MANTA_OK);
    for (uint64_t i = 0; i < OBJECTS; i++) {
        CHECK(get_right(refs[i], OBJECT, i) == 0);
    }
    for (uint64_t i = OBJECTS; i-- > 0;) {
        CHECK(get_right(refs[i], OBJECT, i) == 0);
        manta_drop(refs[i]);
    }
    return 0;
}

static int tasks_make_and_read_ten_times_the_store(int argc, char **argv)
{
    manta_ref refs[OBJECTS], checks[OBJECTS];
    int32_t is_right;
    for (uint64_t i = 0; i < OBJECTS; i++) {
        refs[i] = make_async(NULL, i, OBJECT);
    }
    CHECK(manta_wait(refs, OBJECTS, OBJECTS, MANTA_FOREVER, NULL) == MANTA_OK);
    for (uint64_t i = 0; i < OBJECTS; i++) {
        const manta_options on = {.rank = MANTA_ON((uint32_t)(i * 7) % world_size())};
        checks[i] = check_one_async(&on, i, refs[i]);
        manta_drop(refs[i]);
    }
    for (uint64_t i = 0; i < OBJECTS; i++) {
        CHECK(check_one_get(checks[i], &is_right) == MANTA_OK && is_right);
    }
    return 0;
}

static int behaviour_38_many_arguments_make_progress(int argc, char **argv)
{
    enum { COUNT = 200, TASKS = 100 };
    manta_ref refs[COUNT], checks[TASKS];
    int32_t is_right;
    for (uint64_t i = 0; i < COUNT; i++) {
        refs[i] = make_async(NULL, i, SMALL * 4);
    }
    for (uint64_t i = 0; i < TASKS; i++) {
        uint64_t at = i * 37 % (COUNT - 8);
        manta_ref *r = &refs[at];
        checks[i] = check_many_async(NULL, at, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
    }
    for (uint64_t i = 0; i < TASKS; i++) {
        CHECK(check_many_get(checks[i], &is_right) == MANTA_OK && is_right);
    }
    return 0;
}

static int behaviour_70_what_is_viewed_is_never_spilled(int argc, char **argv)
{
    enum { VIEWS = 3, ROUNDS = 60 };
    static uint64_t data[OBJECT / 8];
    const uint64_t *views[VIEWS];
    manta_ref viewed[VIEWS], refs[ROUNDS];
    for (uint64_t i = 0; i < VIEWS; i++) {
        const void *view;
        size_t bytes;
        viewed[i] =
            make_async(MANTA_OPTIONS(.rank = MANTA_ON((uint32_t)i % world_size())), i, OBJECT);
        CHECK(manta_view(viewed[i], &view, &bytes) == MANTA_OK && bytes == OBJECT);
        views[i] = (const uint64_t *)view;
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        fill(data, OBJECT / 8, 1000 + i);
        refs[i] = manta_put(data, OBJECT);
        CHECK(is_filled(views[i % VIEWS], OBJECT / 8, i % VIEWS));
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        CHECK(get_right(refs[i], OBJECT, 1000 + i) == 0);
        CHECK(is_filled(views[i % VIEWS], OBJECT / 8, i % VIEWS));
    }
    CHECK(manta_unview(viewed[0]) == MANTA_OK); /* the others go with their refs */
    manta_drop(viewed[1]);
    return 0;
}

static int behaviour_71_creating_and_reading_under_pressure_ends(int argc, char **argv)
{
    enum { CHAINS = 24, LENGTH = 4 };
    manta_ref refs[CHAINS];
    for (uint64_t i = 0; i < CHAINS; i++) {
        refs[i] = make_async(NULL, i, OBJECT);
        for (int step = 0; step < LENGTH; step++) {
            manta_ref next = pass_on_async(NULL, i, refs[i]);
            manta_drop(refs[i]);
            refs[i] = next;
        }
    }
    for (uint64_t i = 0; i < CHAINS; i++) {
        CHECK(get_right(refs[i], OBJECT, i) == 0);
        manta_drop(refs[i]);
    }
    return 0;
}

static int inouts_of_what_was_spilled_are_right(int argc, char **argv)
{
    enum { COUNT = 30 };
    manta_ref refs[COUNT], changed[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        refs[i] = make_async(NULL, i, OBJECT);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        changed[i] = change_async(NULL, refs[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(get_right(changed[i], OBJECT, i + 1) == 0);
    }
    return 0;
}

static int copies_wait_for_room_and_find_it(int argc, char **argv)
{
    enum { COUNT = 30 };
    manta_ref refs[COUNT], checks[COUNT];
    int32_t is_right;
    for (uint64_t i = 0; i < COUNT; i++) {
        const manta_options on = {.rank = MANTA_ON((uint32_t)i % world_size())};
        refs[i] = make_async(&on, i, OBJECT);
    }
    for (uint32_t to = 0; to < world_size(); to++) {
        const manta_options on = {.rank = MANTA_ON(to)};
        for (uint64_t i = 0; i < COUNT; i++) {
            checks[i] = check_one_async(&on, i, refs[i]);
        }
        for (uint64_t i = 0; i < COUNT; i++) {
            CHECK(check_one_get(checks[i], &is_right) == MANTA_OK && is_right);
        }
    }
    return 0;
}

/* A driver that keeps its refs reads three times as much as the store may hold, some of it
 * twice. */
static int what_was_read_from_other_nodes_makes_room(int argc, char **argv)
{
    enum { COUNT = 30 };
    manta_ref refs[COUNT];
    const void *view;
    size_t bytes;
    for (uint64_t i = 0; i < COUNT; i++) {
        const manta_options on = {.rank = MANTA_ON(world_size() - 1 - (uint32_t)i % 2)};
        refs[i] = make_async(&on, i, OBJECT);
    }
    CHECK(manta_wait(refs, COUNT, COUNT, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(manta_view(refs[0], &view, &bytes) == MANTA_OK);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(get_right(refs[i], OBJECT, i) == 0);
        CHECK(get_right(refs[i / 2], OBJECT, i / 2) == 0);
        CHECK(is_filled((const uint64_t *)view, OBJECT / 8, 0));
    }
    return 0;
}

/* Some fit, the next is refused, and all that was made before is there: what is in memory at once,
 * and what is on the disk as soon as there is room for it again. */
static int a_full_disk_is_an_error_and_nothing_is_lost(int argc, char **argv)
{
    static uint64_t data[OBJECT / 8];
    manta_ref refs[OBJECTS];
    uint64_t made = 0;
    for (bool fits = true; fits && made < OBJECTS;) {
        manta_error error;
        fill(data, OBJECT / 8, made);
        refs[made] = manta_put(data, OBJECT);
        fits = manta_ref_error(refs[made], &error) == MANTA_E_STATE;
        made += fits;
    }
    CHECK(made > 8 && made < 40);
    CHECK(manta_get(refs[made], data, OBJECT) == MANTA_E_LIMIT);
    CHECK(strstr(manta_last_error()->text, "the disk for spilling is full") != NULL);
    for (uint64_t i = made; i-- > 0;) {
        CHECK(get_right(refs[i], OBJECT, i) == 0);
        manta_drop(refs[i]);
    }
    fill(data, OBJECT / 8, 7);
    refs[0] = manta_put(data, OBJECT);
    return get_right(refs[0], OBJECT, 7);
}

/* Each is right, or lost and said to be: then nothing can be made from it. */
static int damage_on_the_disk_is_never_read(int argc, char **argv)
{
    static uint64_t data[OBJECT / 8];
    manta_ref refs[OBJECTS];
    int lost = 0;
    for (uint64_t i = 0; i < OBJECTS; i++) {
        fill(data, OBJECT / 8, i);
        refs[i] = manta_put(data, OBJECT);
    }
    for (uint64_t i = 0; i < OBJECTS; i++) {
        int code = manta_get(refs[i], data, OBJECT);
        CHECK(code == MANTA_E_LOST || (code == MANTA_OK && is_filled(data, OBJECT / 8, i)));
        CHECK(code == MANTA_OK || strstr(manta_last_error()->text, "could not be read back"));
        lost += code == MANTA_E_LOST;
    }
    CHECK(lost > 0 && lost < OBJECTS);
    int32_t is_right;
    for (uint64_t i = 0; i < OBJECTS; i++) {
        int code = check_one_get(check_one_async(NULL, i, refs[i]), &is_right);
        CHECK(code == MANTA_E_DEPENDENCY || (code == MANTA_OK && is_right));
        manta_drop(refs[i]);
    }
    return 0;
}

/* What the driver keeps open and needs itself: refused after a while, and not for ever. */
static int views_that_fill_the_store_do_not_hang_it(int argc, char **argv)
{
    static uint64_t data[OBJECT / 8];
    manta_ref refs[16];
    uint64_t views = 0;
    for (int code = MANTA_OK; code == MANTA_OK && views < 16;) {
        const void *view;
        size_t bytes;
        refs[views] = manta_put(data, OBJECT);
        code = manta_view(refs[views], &view, &bytes);
        views += code == MANTA_OK;
    }
    CHECK(views >= 8 && views < 11 && manta_last_error()->code == MANTA_E_LIMIT);
    CHECK(strstr(manta_last_error()->text, "rank 0 reads 7.8") != NULL);
    CHECK(strstr(manta_last_error()->text, "close views") != NULL);
    manta_drop(refs[0]);
    refs[0] = manta_put(data, OBJECT);
    CHECK(manta_get(refs[0], data, OBJECT) == MANTA_OK);
    return 0;
}

/* Has most of its node's store in use until another task is done. */
MANTA_TASK(sit, ref(xs), ref(until))
{
    const void *data;
    size_t bytes;
    MANTA_TRY(manta_view(xs, &data, &bytes));
    return manta_wait(&until, 1, 1, MANTA_FOREVER, NULL);
}

MANTA_TASK(take_long, val(uint64_t, us), out(int32_t, done))
{
    core_work(us * 1000);
    *done = 1;
    return MANTA_OK;
}

MANTA_TASK(check_two, in(uint64_t, xs), in(uint64_t, ys), out(uint32_t, rank))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    *rank = world.rank;
    return is_filled(xs, xs_len, 1) && is_filled(ys, ys_len, 2) ? MANTA_OK : MANTA_E_TASK;
}

/* Most of its arguments are on rank 1, which has no room for the rest. */
static int behaviour_37_a_task_moves_to_a_node_with_room(int argc, char **argv)
{
    const manta_options on[] = {
        {.rank = MANTA_ON(0)}, {.rank = MANTA_ON(1)}, {.rank = MANTA_ON(2)}};
    manta_ref large = make_async(&on[1], 3, 4 * MIB + MIB / 2);
    manta_ref xs = make_async(&on[1], 1, 2 * MIB), ys = make_async(&on[0], 2, 3 * MIB / 2);
    manta_ref made[] = {large, xs, ys};
    uint32_t rank;
    CHECK(manta_wait(made, 3, 3, MANTA_FOREVER, NULL) == MANTA_OK);
    manta_ref until = take_long_async(&on[2], 120000000);
    manta_ref sits = sit_async(&on[1], large, until);
    CHECK(manta_wait(&sits, 1, 1, 1000000, NULL) == MANTA_E_TIMEOUT); /* so it has begun */
    CHECK(check_two_get(check_two_async(NULL, xs, ys), &rank) == MANTA_OK && rank == 0);
    CHECK(manta_wait(&until, 1, 1, 0, NULL) == MANTA_E_TIMEOUT); /* nobody has let go */
    const manta_options there = {.rank = MANTA_ON(1)};
    CHECK(check_two_get(check_two_async(&there, xs, ys), &rank) == MANTA_E_LIMIT);
    CHECK(strstr(manta_last_error()->text, "close views") != NULL);
    CHECK(manta_cancel(until) == MANTA_OK && manta_cancel(sits) == MANTA_OK);
    return 0;
}

static int make_twos(const manta_options *options, uint32_t *ret_failed, char *text)
{
    static uint64_t data[(1 << 20) / 8];
    struct make_two_refs twos[3];
    manta_error error;
    for (uint32_t i = 0; i < 3; i++) {
        manta_options on = *options;
        on.rank = MANTA_ON(i);
        manta_ref xs = manta_put(data, sizeof data);
        twos[i] = make_two_async(&on, xs);
        manta_drop(xs);
    }
    *ret_failed = 0;
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(manta_wait(&twos[i].zs, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
        if (manta_ref_error(twos[i].zs, &error) != MANTA_E_STATE) {
            CHECK(error.code == MANTA_E_LIMIT);
            ++*ret_failed;
            strcpy(text, error.text);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        manta_drop(twos[i].ys);
        manta_drop(twos[i].zs);
    }
    return 0;
}

static int bodies_that_want_too_much_together_are_named_and_one_gives_way(int argc, char **argv)
{
    char text[MANTA_ERROR_TEXT_MAX] = "";
    uint32_t failed;
    CHECK(make_twos(&(manta_options){0}, &failed, text) == 0);
    CHECK(failed == 1);
    CHECK(strstr(text, "reads 1 MiB, writes 900 KiB (make_two); and 2 more") != NULL);
    CHECK(make_twos(&(manta_options){.retry_errors = 1}, &failed, text) == 0);
    return failed == 0 ? 0 : 1;
}

static int only_what_is_larger_than_the_store_fails_at_once(int argc, char **argv)
{
    static uint64_t data[OBJECT / 8];
    manta_ref many[12];
    CHECK(manta_get(manta_put(data, (size_t)STORE + 1), data, 8) == MANTA_E_TOOBIG);
    for (uint64_t i = 0; i < 8; i++) {
        many[i] = make_async(NULL, i, 2 * OBJECT);
    }
    int32_t is_right;
    manta_ref *r = many;
    CHECK(check_many_get(check_many_async(NULL, 0, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]),
                         &is_right) == MANTA_E_TOOBIG);
    CHECK(strstr(manta_last_error()->text, "larger than the node's store") != NULL);
    return 0;
}

/* While other ranks of the node die. */
static int deaths_on_the_node_lose_nothing(int argc, char **argv)
{
    enum { COUNT = 48 };
    static uint64_t data[OBJECT / 8];
    manta_ref refs[COUNT], checks[COUNT];
    int32_t is_right;
    for (uint64_t i = 0; i < COUNT; i++) {
        refs[i] = make_async(NULL, i, OBJECT);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        checks[i] = check_one_async(NULL, i, refs[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(check_one_get(checks[i], &is_right) == MANTA_OK && is_right);
        CHECK(get_right(refs[i], OBJECT, i) == 0);
        manta_drop(refs[i]);
    }
    fill(data, OBJECT / 8, 1);
    return get_right(manta_put(data, OBJECT), OBJECT, 1);
}

/* ---- Worlds --------------------------------------------------------------------------------- */

#define SECOND UINT64_C(1000000000)

static const struct pretend_disk_options disk = {.delay_max_ns = 300000};

static struct world_options options_of(uint64_t seed)
{
    return (struct world_options){.seed = seed,
                                  .ranks = 1 + (uint32_t)(seed % 4),
                                  .workers = 1 + (uint32_t)(seed % 3),
                                  .store_bytes = STORE,
                                  .disk = disk};
}

/* No waiting for the patience of a store that stands still: all ends within a fraction of it. */
static void run(const struct world_options *options, manta_driver driver,
                struct world_result *ret_result)
{
    assert_int_equal(world_run(options, driver, ret_result), 0);
    assert_int_equal(world_check("spill", options, ret_result), 0);
    assert_true(ret_result->time_ns < 25 * SECOND);
}

static void over_seeds(manta_driver driver)
{
    uint64_t first, count;
    world_seeds(6, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        run(&options, driver, &result);
        assert_true(result.total.spilled_bytes > 0);
        assert_true(result.total.spill_errors == 0);
    }
}

#define EACH_DRIVER(X)                                                                             \
    X(tasks_make_and_read_ten_times_the_store)                                                     \
    X(behaviour_38_many_arguments_make_progress)                                                   \
    X(behaviour_70_what_is_viewed_is_never_spilled)                                                \
    X(behaviour_71_creating_and_reading_under_pressure_ends)                                       \
    X(inouts_of_what_was_spilled_are_right)

#define TEST(driver)                                                                               \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        over_seeds(driver);                                                                        \
    }
EACH_DRIVER(TEST)

/* Each object is read twice, and comes back at most so often. */
static void test_behaviour_69(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        run(&options, behaviour_69_ten_times_the_store_is_readable_and_equal, &result);
        assert_true(result.total.spilled_bytes >= 8 * (uint64_t)STORE);
        assert_true(result.total.restored_bytes <= 2 * (uint64_t)OBJECTS * OBJECT);
    }
}

static void test_many_small_values_in_a_small_store(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.store_bytes = 1 << 20;
        run(&options, a_stream_of_many_small_items_is_kept_whole, &result);
        assert_true(result.total.spilled_bytes >= (uint64_t)250 * SMALL);
    }
}

static void test_copies_wait_for_room(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.ranks = 4;
        options.node_ranks = 1 + (uint32_t)(seed % 2);
        run(&options, copies_wait_for_room_and_find_it, &result);
    }
}

static void test_reading_other_nodes_makes_room(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.ranks = 4;
        options.node_ranks = 1 + (uint32_t)(seed % 2);
        run(&options, what_was_read_from_other_nodes_makes_room, &result);
    }
}

static void test_behaviour_37(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = {
            .seed = seed, .ranks = 3, .workers = 2, .node_ranks = 1, .store_bytes = STORE};
        struct world_result result;
        assert_int_equal(
            world_run(&options, behaviour_37_a_task_moves_to_a_node_with_room, &result), 0);
        assert_int_equal(world_check("spill", &options, &result), 0);
        assert_int_equal(result.total.moved, 1);
    }
}

static void test_full_disk(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.disk.room_bytes = 8 << 20;
        run(&options, a_full_disk_is_an_error_and_nothing_is_lost, &result);
        assert_true(result.total.spill_errors > 0);
    }
}

static void test_writes_that_fail_are_tried_again(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.disk.fail_percent = 30;
        assert_int_equal(
            world_run(&options, behaviour_71_creating_and_reading_under_pressure_ends, &result), 0);
        assert_int_equal(world_check("spill", &options, &result), 0);
    }
}

static void test_damage(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.disk.damage_percent = 30;
        run(&options, damage_on_the_disk_is_never_read, &result);
    }
}

static void with_any_time(manta_driver driver)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        assert_int_equal(world_run(&options, driver, &result), 0);
        assert_int_equal(world_check("spill", &options, &result), 0);
    }
}

static void test_views_that_fill_the_store(void **state)
{
    with_any_time(views_that_fill_the_store_do_not_hang_it);
}

static void test_bodies_that_want_too_much_together(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.ranks = 3;
        options.workers = 1;
        options.store_bytes = 6 << 20;
        assert_int_equal(world_run(&options,
                                   bodies_that_want_too_much_together_are_named_and_one_gives_way,
                                   &result),
                         0);
        assert_int_equal(world_check("spill", &options, &result), 0);
    }
}

static void test_too_big(void **state)
{
    with_any_time(only_what_is_larger_than_the_store_fails_at_once);
}

static void test_deaths(void **state)
{
    uint64_t first, count, killed = 0;
    world_seeds(16, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = options_of(seed);
        struct world_result result;
        options.ranks = 3 + (uint32_t)(seed % 3);
        options.kills = 1 + (uint32_t)(seed % 2);
        options.kill_within_ns = 20000000;
        assert_int_equal(world_run(&options, deaths_on_the_node_lose_nothing, &result), 0);
        assert_int_equal(world_check("spill", &options, &result), 0);
        killed += result.killed;
    }
    assert_true(killed > 0);
}

int main(void)
{
#define ENTRY(driver) cmocka_unit_test(test_##driver),
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behaviour_69),
        EACH_DRIVER(ENTRY) cmocka_unit_test(test_many_small_values_in_a_small_store),
        cmocka_unit_test(test_copies_wait_for_room),
        cmocka_unit_test(test_reading_other_nodes_makes_room),
        cmocka_unit_test(test_behaviour_37),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_writes_that_fail_are_tried_again),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_views_that_fill_the_store),
        cmocka_unit_test(test_bodies_that_want_too_much_together),
        cmocka_unit_test(test_too_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
