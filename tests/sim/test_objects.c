/*
 * Values in the stores of virtual nodes: made, put, read in place, changed, copied to other
 * nodes, on one node and on several. world_check that no block and no copy is left.
 */
#include "chaos.h"
#include "check.h"
#include "values.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NUMBERS = 100000, STORE = 8 << 20 };

static double sum_of(uint64_t n)
{
    return (double)n * (double)(n - 1) / 2;
}

MANTA_TASK(make, val(uint64_t, n), outv(double, xs))
{
    double *x = (double *)manta_outv_alloc(xs, n);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    for (uint64_t i = 0; i < n; i++) {
        x[i] = (double)i;
    }
    return MANTA_OK;
}

MANTA_TASK(sum_two, in(double, xs), in(double, ys), out(double, s))
{
    for (size_t i = 0; i < xs_len; i++) {
        *s += xs[i] + ys[i];
    }
    return MANTA_OK;
}

MANTA_TASK(twice, inout(double, xs))
{
    for (size_t i = 0; i < xs_len; i++) {
        xs[i] *= 2;
    }
    return MANTA_OK;
}

MANTA_TASK(make_far, val(uint64_t, n), val(uint32_t, rank), out(double, s))
{
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(rank)), n);
    return sum_of_ref(xs, s);
}

/* Hands on the code alone. */
MANTA_TASK(make_too_much, val(uint64_t, n), outv(double, xs))
{
    return manta_outv_alloc(xs, n) ? MANTA_OK : manta_last_error()->code;
}

MANTA_TASK(make_twice, outv(double, xs))
{
    if (!manta_outv_alloc(xs, 10) || manta_outv_alloc(xs, 10)) {
        return MANTA_E_TASK;
    }
    return manta_last_error()->code;
}

static int a_code_that_is_handed_on_keeps_its_reason(int argc, char **argv)
{
    const void *data;
    size_t bytes;
    manta_ref much = make_too_much_async(NULL, STORE), twice_made = make_twice_async(NULL);
    CHECK(manta_view(much, &data, &bytes) == MANTA_E_TOOBIG);
    CHECK(strstr(manta_last_error()->text, "67108864 bytes were asked for") != NULL);
    CHECK(strstr(manta_last_error()->text, "never holds more than 8388608") != NULL);
    CHECK(strstr(manta_last_error()->text, "drop refs") == NULL);
    CHECK(manta_view(twice_made, &data, &bytes) == MANTA_E_STATE);
    CHECK(strstr(manta_last_error()->text, "allocated once") != NULL);
    return 0;
}

static int every_rank_reads_what_every_rank_makes(int argc, char **argv)
{
    double s;
    for (uint32_t maker = 0; maker < world_size(); maker++) {
        manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(maker)), NUMBERS);
        for (uint32_t reader = 0; reader < world_size(); reader++) {
            const manta_options on = {.rank = MANTA_ON(reader)};
            CHECK(sum_get(sum_async(&on, xs), &s) == MANTA_OK && s == sum_of(NUMBERS));
            CHECK(sum_of_ref_get(sum_of_ref_async(&on, xs), &s) == MANTA_OK &&
                  s == sum_of(NUMBERS));
        }
        s = 0;
        CHECK(sum_of_ref(xs, &s) == MANTA_OK && s == sum_of(NUMBERS));
        manta_drop(xs);
    }
    return 0;
}

static int many_readers_at_once(int argc, char **argv)
{
    enum { READERS = 24 };
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(world_size() - 1)), NUMBERS);
    manta_ref ys = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), NUMBERS), refs[READERS];
    double s;
    for (int i = 0; i < READERS; i++) {
        refs[i] = sum_two_async(NULL, xs, ys);
    }
    manta_drop(xs); /* the readers hold it */
    for (int i = 0; i < READERS; i++) {
        CHECK(sum_two_get(refs[i], &s) == MANTA_OK && s == 2 * sum_of(NUMBERS));
    }
    return 0;
}

static int tasks_make_and_read_for_themselves(int argc, char **argv)
{
    manta_ref refs[8];
    double s;
    for (uint32_t i = 0; i < 8; i++) {
        refs[i] = make_far_async(NULL, NUMBERS / 5, i % world_size());
    }
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(make_far_get(refs[i], &s) == MANTA_OK && s == sum_of(NUMBERS / 5));
    }
    return 0;
}

static int an_inout_is_changed_for_its_own_output_only(int argc, char **argv)
{
    const double *data;
    size_t length;
    double s;
    for (uint32_t rank = 0; rank < world_size(); rank++) {
        const manta_options on = {.rank = MANTA_ON(rank)};
        manta_ref xs = make_async(NULL, NUMBERS);
        manta_ref other = sum_async(NULL, xs);
        manta_ref changed = twice_async(&on, xs);
        CHECK(sum_get(other, &s) == MANTA_OK && s == sum_of(NUMBERS));
        CHECK(twice_get(changed, &data, &length) == MANTA_OK && length == NUMBERS);
        CHECK(data[NUMBERS - 1] == 2.0 * (NUMBERS - 1));
        manta_drop(changed);
    }
    return 0;
}

enum { MOST = MANTA_INLINE_MAX / sizeof(double) }; /* that a value has outside of the store */

MANTA_TASK(sum_many, in(double, a), in(double, b), in(double, c), in(double, d), in(double, e),
           in(double, f), in(double, g), in(double, h), in(double, i), in(double, j),
           span(double, more), out(double, s))
{
    const double *const all[] = {a, b, c, d, e, f, g, h, i, j};
    if (a_len + b_len + c_len + d_len + e_len + f_len + g_len + h_len + i_len + j_len !=
        10 * (size_t)MOST) {
        return MANTA_E_TASK;
    }
    for (size_t n = 0; n < MOST; n++) {
        for (size_t of = 0; of < 10; of++) {
            *s += (double)(of + 1) * all[of][n];
        }
    }
    for (size_t n = 0; n < more_len; n++) {
        *s += more[n];
    }
    return MANTA_OK;
}

MANTA_TASK(make_many, outv(double, a), outv(double, b), outv(double, c), outv(double, d),
           outv(double, e), outv(double, f), outv(double, g), outv(double, h), outv(double, i),
           outv(double, j), outv(double, k), outv(double, l))
{
    manta_outv *const all[] = {a, b, c, d, e, f, g, h, i, j, k, l};
    for (size_t of = 0; of < 12; of++) {
        double *x = (double *)manta_outv_alloc(all[of], MOST);
        for (size_t n = 0; x && n < MOST; n++) {
            x[n] = (double)(n + of);
        }
    }
    return MANTA_OK;
}

MANTA_TASK(number, out(double, x))
{
    *x = (double)manta_map_index();
    return MANTA_OK;
}

/* Each as large as it can be without lying in the store. */
static int arguments_and_results_together_have_no_bound_of_their_own(int argc, char **argv)
{
    static double xs[MOST];
    const void *data;
    size_t bytes;
    double s;
    manta_ref map = number_map(NULL, 12 * MOST), over = number_map(NULL, 13 * MOST);
    CHECK(sum_get(sum_async(NULL, map), &s) == MANTA_OK && s == sum_of(12 * MOST));
    CHECK(sum_get(sum_async(NULL, over), &s) == MANTA_E_TOOBIG);
    CHECK(strstr(manta_last_error()->text, "manta_put") != NULL);
    for (size_t i = 0; i < MOST; i++) {
        xs[i] = (double)i;
    }
    manta_ref put = manta_put(xs, sizeof xs), other = make_async(NULL, MOST);
    for (uint32_t rank = 0; rank < world_size(); rank++) {
        const manta_options on = {.rank = MANTA_ON(rank)};
        manta_ref sums = sum_many_async(&on, put, other, put, other, put, other, put, other, put,
                                        other, xs, MOST / 2);
        CHECK(sum_many_get(sums, &s) == MANTA_OK);
        CHECK(s == 55 * sum_of(MOST) + sum_of(MOST / 2));
        struct make_many_refs made = make_many_async(&on);
        manta_ref last[12];
        memcpy(last, &made, sizeof last);
        for (uint32_t of = 0; of < 12; of++) {
            CHECK(manta_view(last[of], &data, &bytes) == MANTA_OK && bytes == sizeof xs);
            CHECK(((const double *)data)[MOST - 1] == (double)(MOST - 1 + of));
        }
    }
    return 0;
}

enum { CHAIN = 8, LARGE = 600000 }; /* more than half of the store */

MANTA_TASK(fail_after, inout(double, xs))
{
    xs[0] = -1;
    return 77;
}

static int a_chain_of_last_holders_needs_one_buffer(int argc, char **argv)
{
    const manta_options here = {.rank = MANTA_ON(0)};
    const double *data;
    size_t length;
    double s;
    manta_ref xs = make_async(&here, LARGE), next;
    for (int i = 0; i < CHAIN; i++) {
        xs = twice_async(&here, xs);
    }
    CHECK(twice_get(xs, &data, &length) == MANTA_OK && length == LARGE);
    CHECK(data[LARGE - 1] == (1 << CHAIN) * (double)(LARGE - 1));
    manta_unview(xs);
    next = fail_after_async(&here, xs);
    CHECK(manta_wait(&next, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(fail_after_get(next, &data, &length) == 77);
    /* It is given back after a failure, too. */
    CHECK(sum_get(sum_async(&here, make_async(&here, LARGE)), &s) == MANTA_OK);
    return s == sum_of(LARGE) ? 0 : 1;
}

/* One task that holds it for long, and shows what it saw at last. */
MANTA_TASK(look_late, ref(xs), out(double, last))
{
    const double *x;
    size_t bytes;
    MANTA_TRY(manta_view(xs, (const void **)&x, &bytes));
    core_work(1000000);
    *last = x[bytes / sizeof *x - 1];
    return MANTA_OK;
}

/* A view elsewhere, a reader elsewhere, a retry: none of them sees the change. */
static int what_others_hold_is_copied(int argc, char **argv)
{
    const manta_options here = {.rank = MANTA_ON(0)}, there = {.rank = MANTA_ON(world_size() - 1)};
    const manta_options again = {.rank = MANTA_ON(0), .retry_errors = 1};
    const double *data;
    size_t length;
    double s;
    for (int i = 0; i < 2; i++) {
        manta_ref xs = make_async(&here, NUMBERS);
        manta_ref reader = i ? sum_async(&there, xs) : look_late_async(&there, xs);
        manta_ref changed = twice_async(&here, xs);
        CHECK(twice_get(changed, &data, &length) == MANTA_OK && data[1] == 2);
        CHECK((i ? sum_get : look_late_get)(reader, &s) == MANTA_OK);
        CHECK(s == (i ? sum_of(NUMBERS) : NUMBERS - 1));
    }
    manta_ref changed = twice_async(&again, make_async(&here, NUMBERS));
    CHECK(twice_get(changed, &data, &length) == MANTA_OK && data[1] == 2);
    return 0;
}

static int what_was_put_is_read_in_place(int argc, char **argv)
{
    static double xs[NUMBERS];
    const void *first, *second;
    size_t bytes;
    double s, y = 3;
    for (int i = 0; i < NUMBERS; i++) {
        xs[i] = i;
    }
    manta_ref large = manta_put(xs, sizeof xs), small = manta_put(&y, sizeof y);
    manta_ref empty = manta_put(NULL, 0);
    CHECK(manta_view(large, &first, &bytes) == MANTA_OK && bytes == sizeof xs);
    CHECK(manta_view(large, &second, &bytes) == MANTA_OK && first == second);
    CHECK((uintptr_t)first % 64 == 0 && memcmp(first, xs, sizeof xs) == 0);
    CHECK(manta_unview(large) == MANTA_OK && manta_unview(large) == MANTA_OK);
    CHECK(manta_get(small, &s, sizeof s) == MANTA_OK && s == 3);
    CHECK(manta_view(empty, &first, &bytes) == MANTA_OK && bytes == 0);
    CHECK(manta_unview(empty) == MANTA_OK);
    for (uint32_t rank = 0; rank < world_size(); rank++) {
        const manta_options on = {.rank = MANTA_ON(rank)};
        CHECK(sum_get(sum_async(&on, large), &s) == MANTA_OK && s == sum_of(NUMBERS));
    }
    CHECK(manta_get(large, &s, sizeof s) == MANTA_E_TYPE);
    CHECK(manta_put(NULL, 8).parent == 0 && manta_last_error()->code == MANTA_E_INVALID);
    return 0;
}

static int a_full_store_is_a_named_error_and_goes_on_after_a_drop(int argc, char **argv)
{
    static uint8_t bytes[3 << 20];
    manta_ref refs[8], over;
    uint8_t back[4];
    int fit = 0;
    do {
        refs[fit] = manta_put(bytes, sizeof bytes);
    } while (manta_wait(&refs[fit], 1, 1, 0, NULL) == MANTA_OK &&
             manta_ref_error(refs[fit], &(manta_error){0}) == MANTA_E_STATE && ++fit < 8);
    CHECK(fit == 2);
    over = refs[fit];
    CHECK(manta_get(over, back, sizeof back) == MANTA_E_LIMIT);
    CHECK(strstr(manta_last_error()->text, "MANTA_STORE") != NULL);
    manta_ref failed = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), sizeof bytes / 8);
    const double *data;
    size_t length;
    CHECK(make_get(failed, &data, &length) == MANTA_E_LIMIT);
    CHECK(strstr(manta_last_error()->text, "MANTA_STORE") != NULL);
    CHECK(manta_get(manta_put(bytes, (size_t)1 << 40), back, 4) == MANTA_E_TOOBIG);
    manta_drop(refs[0]);
    manta_ref again = manta_put(bytes, sizeof bytes);
    static uint8_t copy[3 << 20];
    CHECK(manta_get(again, copy, sizeof copy) == MANTA_OK);
    return 0;
}

struct seen {
    uint64_t bytes, count, read_here, on_rank;
    bool is_named;
};

static void look(void *arg, const manta_object *object)
{
    struct seen *seen = arg;
    seen->bytes += object->bytes;
    seen->count++;
    seen->read_here += object->is_read_here;
    seen->on_rank |= UINT64_C(1) << object->rank;
    seen->is_named |= strcmp(object->task, "make") == 0 && strstr(object->file, "test_objects.c") &&
                      object->line > 0 && object->owner == 0;
}

/* What a person sees of a value that a task made and a view reads. */
static int values_are_explained(int argc, char **argv)
{
    const void *data;
    size_t bytes;
    char text[512];
    struct seen seen = {0};
    manta_store_info before, info;
    CHECK(manta_store_stats(&before) == MANTA_OK && before.bound_bytes == STORE);
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), NUMBERS);
    CHECK(manta_view(xs, &data, &bytes) == MANTA_OK);
    CHECK(manta_store_stats(&info) == MANTA_OK);
    CHECK(info.own_values == before.own_values + 1 && info.pinned_bytes >= bytes);
    CHECK(manta_explain(xs, text, sizeof text) == MANTA_OK);
    CHECK(strstr(text, "make (") && strstr(text, "test_objects.c") && strstr(text, "is done"));
    CHECK(strstr(text, "800000 bytes in the share of rank 0, in memory, read here now"));
    CHECK(manta_store_each(look, &seen) == MANTA_OK);
    CHECK(seen.count == 1 && seen.bytes == bytes && seen.read_here == 1);
    CHECK(seen.is_named && seen.on_rank == 1);
    CHECK(manta_unview(xs) == MANTA_OK && manta_drop(xs) == MANTA_OK);
    CHECK(manta_explain(xs, text, sizeof text) == MANTA_E_NOTFOUND);
    CHECK(manta_explain(make_async(NULL, NUMBERS), text, 12) == MANTA_OK && strlen(text) == 11);
    return 0;
}

MANTA_TASK(make_child, outrefs(kid))
{
    manta_ref *ref = (manta_ref *)manta_outv_alloc(kid, 1);
    if (ref) {
        *ref = make_async(NULL, NUMBERS);
    }
    return ref ? MANTA_OK : MANTA_E_NOMEM;
}

struct line {
    unsigned long long bytes;
    unsigned share;
    char where[16], owner[16], holders[64], readers[64], ref[64], task[64], place[256];
};

/* Dumps; returns how many lines are of this task, the last of them, and how many have readers. */
static int dump(const char *task, struct line *ret_line, int *ret_read)
{
    char path[] = "/tmp/manta-dump-XXXXXX", text[1024];
    int count = 0, file = mkstemp(path);
    *ret_read = 0;
    if (file < 0 || close(file) || manta_store_dump(path) != MANTA_OK) {
        return -1;
    }
    FILE *in = fopen(path, "r");
    while (in && fgets(text, sizeof text, in)) {
        struct line line;
        if (sscanf(text, "%llu %15s %u %15s %63s %63s %63s %63s %255s", &line.bytes, line.where,
                   &line.share, line.owner, line.holders, line.readers, line.ref, line.task,
                   line.place) == 9) {
            *ret_read += strcmp(line.readers, "-") != 0;
            if (strcmp(line.task, task) == 0) {
                *ret_line = line;
                count++;
            }
        }
    }
    return in && fclose(in) == 0 && unlink(path) == 0 ? count : -1;
}

static int the_table_of_all_values_is_written_to_a_file(int argc, char **argv)
{
    const uint32_t last = world_size() - 1;
    const manta_options on = {.rank = MANTA_ON(last)};
    const void *data;
    size_t bytes;
    struct line line;
    int read;
    char rank[16];
    snprintf(rank, sizeof rank, "%" PRIu32, last);
    manta_ref xs = make_async(&on, NUMBERS), box = make_child_async(&on);
    CHECK(manta_wait(&xs, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(dump("make", &line, &read) >= 1 && read == 0);
    CHECK(manta_view(box, &data, &bytes) == MANTA_OK);
    const manta_ref kid = *(const manta_ref *)data;
    CHECK(manta_view(kid, &data, &bytes) == MANTA_OK && manta_drop(xs) == MANTA_OK);
    manta_ref done = sum_async(&on, kid); /* what was sent before is there */
    CHECK(sum_get(done, &(double){0}) == MANTA_OK);
    CHECK(dump("make", &line, &read) == 1 && read == 1);
    CHECK(line.bytes == NUMBERS * sizeof(double) && strcmp(line.where, "memory") == 0);
    CHECK(strcmp(line.owner, rank) == 0 && strcmp(line.holders, last ? "0" : "-") == 0);
    CHECK(strstr(line.place, "test_objects.c:") != NULL);
    CHECK(manta_unview(kid) == MANTA_OK);
    CHECK(dump("make", &line, &read) == 1 && read == 0);
    return 0;
}

/* While ranks die: those that live answer. */
static int the_table_comes_whoever_dies(int argc, char **argv)
{
    manta_ref xs[8];
    struct line line;
    int read;
    for (uint32_t i = 0; i < 8; i++) {
        xs[i] = make_async(NULL, NUMBERS / 8);
    }
    for (int i = 0; i < 40; i++) {
        CHECK(dump("make", &line, &read) >= 0);
    }
    CHECK(manta_wait(xs, 8, 8, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(dump("make", &line, &read) >= 0);
    return 0;
}

static void test_table_with_deaths(void **state)
{
    uint32_t killed = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world_options options = {
            .seed = seed, .ranks = 5, .kills = 2, .kill_within_ns = 200000, .store_bytes = STORE};
        struct world_result result;
        assert_int_equal(world_run(&options, the_table_comes_whoever_dies, &result), 0);
        assert_int_equal(world_check("objects", &options, &result), 0);
        killed += result.killed;
    }
    assert_true(killed > 20);
}

/* Rank 1, on another node, has no room for a copy: that is said, and not that the value is lost. */
static int no_room_for_a_copy(int argc, char **argv)
{
    static uint8_t bytes[3 << 20];
    const manta_options there = {.rank = MANTA_ON(1)};
    manta_ref here = manta_put(bytes, sizeof bytes), full[2];
    double s;
    for (int i = 0; i < 2; i++) {
        full[i] = make_async(&there, sizeof bytes / sizeof(double));
    }
    CHECK(manta_wait(full, 2, 2, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(sum_get(sum_async(&there, here), &s) == MANTA_E_LIMIT);
    CHECK(strstr(manta_last_error()->text, "MANTA_STORE") != NULL);
    manta_drop(full[0]);
    manta_drop(full[1]);
    CHECK(sum_get(sum_async(&there, here), &s) == MANTA_OK && s == 0);
    return 0;
}

static void test_no_room_for_a_copy(void **state)
{
    struct world_options options = {
        .seed = 1, .ranks = 2, .workers = 1, .node_ranks = 1, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, no_room_for_a_copy, &result), 0);
    assert_int_equal(world_check("objects", &options, &result), 0);
}

static void test_inout_in_place(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 1 + (uint32_t)(seed % 3),
                                        .workers = 1 + (uint32_t)(seed % 2),
                                        .node_ranks = 1 + (uint32_t)(seed % 2),
                                        .store_bytes = STORE};
        struct world_result result;
        assert_int_equal(world_run(&options, a_chain_of_last_holders_needs_one_buffer, &result), 0);
        assert_int_equal(world_check("objects", &options, &result), 0);
        assert_int_equal(result.total.reused_values, CHAIN);
        assert_int_equal(world_run(&options, what_others_hold_is_copied, &result), 0);
        assert_int_equal(world_check("objects", &options, &result), 0);
        assert_true(result.total.reused_values <= 1); /* where the sum was done before */
    }
}

#define EACH_DRIVER(X)                                                                             \
    X(every_rank_reads_what_every_rank_makes)                                                      \
    X(many_readers_at_once)                                                                        \
    X(tasks_make_and_read_for_themselves)                                                          \
    X(an_inout_is_changed_for_its_own_output_only)                                                 \
    X(a_code_that_is_handed_on_keeps_its_reason)                                                   \
    X(arguments_and_results_together_have_no_bound_of_their_own)                                   \
    X(the_table_of_all_values_is_written_to_a_file)                                                \
    X(values_are_explained)                                                                        \
    X(what_was_put_is_read_in_place)                                                               \
    X(a_full_store_is_a_named_error_and_goes_on_after_a_drop)

#define TEST(driver)                                                                               \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        world_on_nodes("objects", driver, STORE, 8);                                               \
    }
EACH_DRIVER(TEST)

int main(void)
{
#define ENTRY(driver) cmocka_unit_test(test_##driver),
    const struct CMUnitTest tests[] = {EACH_DRIVER(ENTRY) cmocka_unit_test(test_no_room_for_a_copy),
                                       cmocka_unit_test(test_table_with_deaths),
                                       cmocka_unit_test(test_inout_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
