/*
 * The behaviours that users of task systems rely on, by number (docs/behaviours.md lists them).
 *
 * Each driver is named behaviour_NN_... and runs on 1, 2 and 7 virtual ranks over several
 * seeds; world_check adds to each that nothing hung and every count ended at zero.
 */
#define TEST_NAME "behaviours" /* in meson.build */
#include "behaviours.h"

/* In behaviours_exceptions.cc. */
int behaviour_10_exceptions_are_error_records(int argc, char **argv);

MANTA_TASK(add, in(int64_t, a), in(int64_t, b), out(int64_t, y))
{
    *y = a[0] + b[0];
    return MANTA_OK;
}

MANTA_TASK(refuse, val(int32_t, code))
{
    return manta_fail(code, "asked to fail with %d", code);
}

/* ---- 1, 2: values and chains ---------------------------------------------------------------- */

struct inner {
    double x[3];
    char tag;
};

struct nested {
    uint8_t first;
    struct inner inner[4];
    int64_t last;
};

MANTA_TASK(echo, val(struct nested, value), text(words), span(int32_t, xs),
           out(struct nested, same), outv(char, letters), outv(int32_t, ys))
{
    size_t length = words ? strlen(words) : 0;
    char *copy = (char *)manta_outv_alloc(letters, length);
    int32_t *numbers = (int32_t *)manta_outv_alloc(ys, xs_len);
    if (!copy || !numbers) {
        return MANTA_E_NOMEM;
    }
    *same = value;
    memcpy(copy, words ? words : "", length);
    memcpy(numbers, xs ? xs : numbers, xs_len * sizeof *xs);
    return MANTA_OK;
}

static int echoes(const char *words, size_t count)
{
    static int32_t xs[MANTA_INLINE_MAX / 4];
    const int32_t *ys;
    const char *letters;
    size_t letters_len, ys_len;
    struct nested value = {.first = 7,
                           .inner = {[2] = {{1.5, -0.0, 1e300}, 'q'}},
                           .last = INT64_MIN},
                  same;
    for (size_t i = 0; i < count; i++) {
        xs[i] = (int32_t)(i * 2654435761u);
    }
    manta_options far = on_far();
    struct echo_refs refs = echo_async(&far, value, words, count ? xs : NULL, count);
    CHECK(echo_get(refs, &same, &letters, &letters_len, &ys, &ys_len) == MANTA_OK);
    CHECK(same.first == 7 && same.last == INT64_MIN && same.inner[2].tag == 'q' &&
          same.inner[2].x[2] == 1e300);
    CHECK(letters_len == (words ? strlen(words) : 0) &&
          memcmp(letters, words ? words : "", letters_len) == 0);
    CHECK(ys_len == count && memcmp(ys, xs, count * sizeof *xs) == 0);
    return 0;
}

static int behaviour_01_values_round_trip_nested_and_large(int argc, char **argv)
{
    CHECK(echoes("some words", 100) == 0);
    CHECK(echoes(NULL, 0) == 0);
    CHECK(echoes("", 1) == 0);
    CHECK(echoes("x", 15000) == 0);
    return 0;
}

MANTA_TASK(sum_bytes, span(uint8_t, bytes), out(uint64_t, sum))
{
    for (size_t i = 0; i < bytes_len; i++) {
        *sum += bytes[i];
    }
    return MANTA_OK;
}

MANTA_TASK(make_bytes, val(uint64_t, count), outv(uint8_t, bytes))
{
    uint8_t *made = (uint8_t *)manta_outv_alloc(bytes, count);
    if (!made) {
        return manta_fail(MANTA_E_TOOBIG, "%llu bytes do not fit", (unsigned long long)count);
    }
    memset(made, 3, count);
    return MANTA_OK;
}

MANTA_TASK(count_bytes, in(uint8_t, bytes), out(uint64_t, count))
{
    *count = bytes_len;
    return MANTA_OK;
}

static int behaviour_01_the_limit_inside_messages_is_exact(int argc, char **argv)
{
    static uint8_t bytes[MANTA_INLINE_MAX];
    uint64_t sum;
    manta_options far = on_far();
    memset(bytes, 1, sizeof bytes);
    manta_ref most = sum_bytes_async(&far, bytes, sizeof bytes - 8); /* 8: its length */
    CHECK(sum_bytes_get(most, &sum) == MANTA_OK && sum == sizeof bytes - 8);
    CHECK(sum_bytes_get(sum_bytes_async(&far, bytes, sizeof bytes), &sum) == MANTA_E_TOOBIG);
    CHECK(error_says("bytes") && error_says("65536"));
    manta_ref whole = make_bytes_async(&far, MANTA_INLINE_MAX);
    CHECK(count_bytes_get(count_bytes_async(&far, whole), &sum) == MANTA_OK &&
          sum == MANTA_INLINE_MAX);
    manta_ref over = make_bytes_async(&far, MANTA_INLINE_MAX + 1), none = make_bytes_async(&far, 0);
    const uint8_t *data;
    size_t length;
    CHECK(make_bytes_get(over, &data, &length) == MANTA_E_TOOBIG);
    CHECK(make_bytes_get(none, &data, &length) == MANTA_OK && length == 0);
    return 0;
}

static int behaviour_02_chain_of_100_across_ranks(int argc, char **argv)
{
    int64_t y;
    manta_ref ref = square_async(NULL, 0);
    for (uint32_t i = 0; i < 100; i++) {
        manta_options options = {.rank = MANTA_ON(i % world_size())};
        ref = increment_async(&options, ref);
    }
    CHECK(increment_get(ref, &y) == MANTA_OK && y == 100);
    return 0;
}

/* ---- 4, 5: several outputs ------------------------------------------------------------------ */

MANTA_TASK(three, val(int64_t, x), val(int32_t, code), out(int64_t, one), outv(int64_t, many),
           out(int64_t, other))
{
    int64_t *list = (int64_t *)manta_outv_alloc(many, 2);
    *one = x;
    list[0] = x + 1;
    list[1] = x + 2;
    *other = x + 3;
    return code ? manta_fail(code, "three failed on purpose") : MANTA_OK;
}

static int behaviour_04_three_outputs_are_three_refs(int argc, char **argv)
{
    int64_t y;
    manta_options far = on_far();
    struct three_refs refs = three_async(&far, 10, 0);
    CHECK(refs.one.position != refs.many.position && refs.many.position != refs.other.position);
    CHECK(manta_get(refs.other, &y, sizeof y) == MANTA_OK && y == 13);
    CHECK(manta_drop(refs.other) == MANTA_OK && manta_drop(refs.other) == MANTA_E_NOTFOUND);
    CHECK(increment_get(increment_async(NULL, refs.one), &y) == MANTA_OK && y == 11);
    CHECK(increment_get(increment_async(NULL, refs.many), &y) == MANTA_OK && y == 12);
    CHECK(manta_drop(refs.one) == MANTA_OK &&
          manta_get(refs.one, &y, sizeof y) == MANTA_E_NOTFOUND);
    return 0;
}

static int behaviour_05_all_outputs_fail_with_the_same_cause(int argc, char **argv)
{
    int64_t y = -1;
    manta_options far = on_far();
    struct three_refs refs = three_async(&far, 10, 42);
    const manta_ref all[] = {refs.one, refs.many, refs.other};
    for (int i = 0; i < 3; i++) {
        manta_error error;
        CHECK(manta_get(all[i], &y, sizeof y) == 42 && y == -1);
        CHECK(manta_ref_error(all[i], &error) == MANTA_OK && error.code == 42 &&
              error.attempt == 1);
        CHECK(strcmp(error.task, "three") == 0 &&
              strcmp(error.text, "three failed on purpose") == 0);
        CHECK(error.rank == world_size() - 1 && error.line != 0 && error.task_id != 0);
        CHECK(increment_get(increment_async(NULL, all[i]), &y) == MANTA_E_DEPENDENCY && y == -1);
        CHECK(manta_last_error()->cause_code == 42 &&
              manta_last_error()->cause_task_id == error.task_id);
    }
    return 0;
}

/* ---- 6: tasks that wait for tasks ----------------------------------------------------------- */

MANTA_TASK(count_tree_by_get, val(int32_t, depth), out(int64_t, leaves))
{
    *leaves = depth == 0;
    manta_ref parts[3];
    for (int i = 0; depth && i < 3; i++) {
        parts[i] = count_tree_by_get_async(NULL, depth - 1);
    }
    for (int i = 0; depth && i < 3; i++) {
        int64_t part;
        MANTA_TRY(count_tree_by_get_get(parts[i], &part));
        *leaves += part;
    }
    return MANTA_OK;
}

MANTA_TASK(count_tree_by_wait, val(int32_t, depth), out(int64_t, leaves))
{
    *leaves = depth == 0;
    manta_ref parts[3];
    for (int i = 0; depth && i < 3; i++) {
        parts[i] = count_tree_by_wait_async(NULL, depth - 1);
    }
    MANTA_TRY(depth ? manta_wait(parts, 3, 3, MANTA_FOREVER, NULL) : MANTA_OK);
    for (int i = 0; depth && i < 3; i++) {
        int64_t part;
        MANTA_TRY(count_tree_by_wait_get(parts[i], &part));
        *leaves += part;
    }
    return MANTA_OK;
}

MANTA_TASK(count_tree_by_queue, val(int32_t, depth), out(int64_t, leaves))
{
    manta_queue *queue;
    manta_ref next;
    *leaves = depth == 0;
    MANTA_TRY(manta_queue_create(&queue));
    for (int i = 0; depth && i < 3; i++) {
        MANTA_TRY(manta_queue_add(queue, count_tree_by_queue_async(NULL, depth - 1), NULL));
    }
    while (manta_queue_next(queue, MANTA_FOREVER, &next, NULL) == MANTA_OK) {
        int64_t part;
        MANTA_TRY(count_tree_by_queue_get(next, &part));
        *leaves += part;
    }
    manta_queue_destroy(queue);
    return MANTA_OK;
}

static int32_t tree_depth = 5; /* at the stack cap less: bodies then lie on top of each other */

static int64_t tree_leaves(void)
{
    int64_t leaves = 1;
    for (int32_t i = 0; i < tree_depth; i++) {
        leaves *= 3;
    }
    return leaves;
}

static int behaviour_06_nested_get_with_fewer_workers_than_parents(int argc, char **argv)
{
    int64_t leaves;
    CHECK(count_tree_by_get_get(count_tree_by_get_async(NULL, tree_depth), &leaves) == MANTA_OK);
    CHECK(leaves == tree_leaves());
    return 0;
}

static int behaviour_06_nested_wait_with_fewer_workers_than_parents(int argc, char **argv)
{
    int64_t leaves;
    CHECK(count_tree_by_wait_get(count_tree_by_wait_async(NULL, tree_depth), &leaves) == MANTA_OK);
    CHECK(leaves == tree_leaves());
    return 0;
}

static int behaviour_06_nested_queue_with_fewer_workers_than_parents(int argc, char **argv)
{
    int64_t leaves;
    CHECK(count_tree_by_queue_get(count_tree_by_queue_async(NULL, tree_depth), &leaves) ==
          MANTA_OK);
    CHECK(leaves == tree_leaves());
    return 0;
}

/* ---- 10: what an error says ----------------------------------------------------------------- */

static int behaviour_10_errors_name_task_place_and_cause(int argc, char **argv)
{
    int64_t y;
    manta_options named = on_far();
    named.name = "the third sweep";
    manta_ref bad = refuse_async(&named, 1234);
    CHECK(refuse_get(bad) == 1234);
    const manta_error *error = manta_last_error();
    CHECK(error->code == 1234 && error->rank == world_size() - 1 && error->attempt == 1 &&
          error->line > 0);
    CHECK(strcmp(error->task, "the third sweep") == 0 &&
          strcmp(error->file, "test_behaviours.c") == 0);
    CHECK(strcmp(error->text, "asked to fail with 1234") == 0 && error->host[0] != 0 &&
          error->task_id != 0);
    CHECK(refuse_get(refuse_async(NULL, MANTA_E_SYSTEM)) == MANTA_E_SYSTEM &&
          error_says("asked to fail"));
    uint64_t id = manta_last_error()->task_id;
    manta_ref chain = increment_async(NULL, increment_async(NULL, bad));
    CHECK(increment_get(chain, &y) == MANTA_E_DEPENDENCY && manta_last_error()->task_id != id);
    CHECK(strcmp(manta_last_error()->cause_task, "the third sweep") == 0);
    CHECK(manta_last_error()->cause_code == 1234 && error_says("asked to fail with 1234"));
    return 0;
}

/* ---- 11 to 13: get -------------------------------------------------------------------------- */

MANTA_TASK(join, refs(parts), outv(int64_t, values))
{
    int64_t *list = (int64_t *)manta_outv_alloc(values, parts_len);
    for (size_t i = 0; i < parts_len; i++) {
        MANTA_TRY(square_get(parts[i], &list[i]));
    }
    return MANTA_OK;
}

static int behaviour_11_order_is_kept_and_duplicates_are_fine(int argc, char **argv)
{
    enum { N = 40 };
    manta_ref refs[N];
    int64_t y;
    for (int i = 0; i < N; i++) {
        refs[i] = i % 4 == 3 ? refs[i - 1] : square_async(NULL, i);
    }
    for (int i = N; i-- > 0;) {
        int64_t want = i % 4 == 3 ? i - 1 : i;
        CHECK(square_get(refs[i], &y) == MANTA_OK && y == want * want);
    }
    const int64_t *list;
    size_t length;
    CHECK(join_get(join_async(NULL, refs, N), &list, &length) == MANTA_OK && length == N);
    for (int64_t i = 0; i < N; i++) {
        int64_t want = i % 4 == 3 ? i - 1 : i;
        CHECK(list[i] == want * want);
    }
    manta_ref same = square_async(NULL, 4);
    CHECK(add_get(add_async(NULL, same, same), &y) == MANTA_OK && y == 32);
    return 0;
}

static int behaviour_12_get_succeeds_after_a_timeout(int argc, char **argv)
{
    int64_t y = -1;
    manta_options far = on_far();
    manta_ref slow = compute_async(&far, 20 * MS);
    uint8_t ready = 9;
    CHECK(manta_wait(&slow, 1, 1, MS, &ready) == MANTA_E_TIMEOUT && ready == 0);
    CHECK(manta_last_error()->code == MANTA_E_TIMEOUT && error_says("0 of 1"));
    CHECK(manta_wait(&slow, 1, 1, MS, &ready) == MANTA_E_TIMEOUT);
    manta_error error;
    CHECK(manta_ref_error(slow, &error) == MANTA_E_AGAIN);
    CHECK(compute_get(slow, &y) == MANTA_OK && y == (int64_t)(20 * MS));
    CHECK(manta_wait(&slow, 1, 1, 0, &ready) == MANTA_OK && ready == 1);
    return 0;
}

static int behaviour_13_a_failure_is_seen_while_others_run(int argc, char **argv)
{
    int64_t y;
    manta_options far = on_far(), here = {.rank = MANTA_ON(0)};
    manta_ref slow[2] = {until_cancelled_async(&far, MS), until_cancelled_async(&far, MS)};
    manta_ref bad = refuse_async(&here, 8), all[3] = {slow[0], bad, slow[1]}, next;
    uint8_t ready[3];
    if (world_size() == 1) { /* one worker there: the failing one must come first */
        CHECK(manta_cancel(slow[0]) == MANTA_OK && manta_cancel(slow[1]) == MANTA_OK);
    }
    CHECK(add_get(add_async(&here, slow[0], bad), &y) == MANTA_E_DEPENDENCY);
    CHECK(manta_wait(all, 3, 1, MANTA_FOREVER, ready) == MANTA_OK &&
          ready[0] + ready[1] + ready[2] == 1);
    manta_queue *queue;
    CHECK(manta_queue_create(&queue) == MANTA_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(manta_queue_add(queue, all[i], NULL) == MANTA_OK);
    }
    CHECK(manta_queue_next(queue, MANTA_FOREVER, &next, NULL) == MANTA_OK);
    CHECK(world_size() == 1 || memcmp(&next, &bad, sizeof next) == 0);
    manta_queue_destroy(queue);
    return 0;
}

/* ---- 15 to 18: wait ------------------------------------------------------------------------- */

static unsigned count_ones(const uint8_t *ready, size_t n)
{
    unsigned ones = 0;
    for (size_t i = 0; i < n; i++) {
        ones += ready[i] == 1;
    }
    return ones;
}

static int behaviour_15_wait_marks_exactly_k(int argc, char **argv)
{
    enum { N = 20 };
    manta_ref refs[N];
    uint8_t ready[N];
    for (int i = 0; i < N; i++) {
        refs[i] = compute_async(NULL, (uint64_t)(i + 1) * 1000);
    }
    for (size_t k = 0; k <= N; k++) {
        memset(ready, 7, sizeof ready);
        CHECK(manta_wait(refs, N, k, MANTA_FOREVER, ready) == MANTA_OK &&
              count_ones(ready, N) == k);
        for (int i = 0; i < N; i++) {
            CHECK(ready[i] <= 1);
        }
    }
    CHECK(manta_wait(refs, N, N, 0, NULL) == MANTA_OK);
    CHECK(manta_wait(refs, N, N + 1, 0, NULL) == MANTA_E_INVALID && error_says("21 of 20"));
    return 0;
}

static int behaviour_16_a_timeout_gives_the_partial_split(int argc, char **argv)
{
    enum { N = 12, QUICK = 5 };
    manta_ref refs[N];
    uint8_t ready[N];
    for (int i = 0; i < QUICK; i++) {
        refs[i * 2] = square_async(NULL, i);
    }
    CHECK(manta_wait(&refs[0], 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    for (int i = 0; i < QUICK; i++) {
        int64_t y;
        CHECK(square_get(refs[i * 2], &y) == MANTA_OK);
    }
    for (int i = 0; i < N; i++) {
        if (i % 2 || i / 2 >= QUICK) {
            refs[i] = until_cancelled_async(NULL, MS);
        }
    }
    memset(ready, 7, sizeof ready);
    CHECK(manta_wait(refs, N, QUICK + 1, 5 * MS, ready) == MANTA_E_TIMEOUT);
    CHECK(error_says("5 of 12") && error_says("6 were asked"));
    for (int i = 0; i < N; i++) {
        CHECK(ready[i] == (i % 2 == 0 && i / 2 < QUICK));
    }
    return 0;
}

static int behaviour_17_wait_refuses_duplicates_and_accepts_nothing(int argc, char **argv)
{
    manta_ref one = square_async(NULL, 1), two = square_async(NULL, 2), refs[3] = {one, two, one};
    uint8_t ready[3] = {5, 5, 5};
    CHECK(manta_wait(NULL, 0, 0, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(manta_wait(refs, 0, 0, 0, ready) == MANTA_OK && ready[0] == 5);
    CHECK(manta_wait(refs, 3, 1, MANTA_FOREVER, ready) == MANTA_E_INVALID);
    CHECK(error_says("refs[0] and refs[2]") && ready[0] == 5 && ready[1] == 5 && ready[2] == 5);
    CHECK(manta_wait(refs, 0, 1, 0, ready) == MANTA_E_INVALID);
    refs[2].owner ^= 1; /* a hint: the same ref all the same */
    CHECK(manta_wait(refs, 3, 1, MANTA_FOREVER, NULL) == MANTA_E_INVALID);
    CHECK(manta_wait(refs, 2, 2, MANTA_FOREVER, ready) == MANTA_OK && ready[0] == 1 &&
          ready[1] == 1);
    return 0;
}

static int behaviour_18_wait_zero_sees_remote_completions(int argc, char **argv)
{
    enum { N = 5 };
    manta_ref refs[N];
    uint8_t ready[N];
    manta_options far = on_far();
    for (int i = 0; i < N; i++) {
        refs[i] = square_async(&far, i);
    }
    CHECK(manta_wait(refs, N, N, 0, ready) == MANTA_E_TIMEOUT);
    core_work(50 * MS); /* computes, without a look at what arrives */
    CHECK(manta_wait(refs, N, N, 0, ready) == MANTA_OK && count_ones(ready, N) == N);
    return 0;
}

/* ---- 82: the same numbers ------------------------------------------------------------------- */

MANTA_TASK(count_hits, val(uint64_t, seed), val(uint64_t, samples), out(uint64_t, hits))
{
    manta_rng rng = manta_rng_stream(seed, 0);
    core_work(samples);
    for (*hits = 0; samples--;) {
        double x = manta_rng_uniform(&rng), y = manta_rng_uniform(&rng);
        *hits += x * x + y * y < 1.0;
    }
    return MANTA_OK;
}

MANTA_TASK(map_hits, val(uint64_t, seed), out(uint64_t, hits))
{
    manta_rng rng = manta_rng_stream(seed, manta_map_index());
    core_work(5000);
    *hits = manta_rng_u64(&rng) ^ manta_rng_u64(&rng);
    return MANTA_OK;
}

/* 0: whatever the first run gives; worlds with kills are processes of their own. */
static uint64_t want_digits;

static int behaviour_82_the_same_digits_everywhere(int argc, char **argv)
{
    enum { TASKS = 60, RUNS = 400 };
    const manta_options many = {.retries = 100};
    static uint64_t runs[RUNS];
    manta_ref refs[TASKS], map = map_hits_map(&many, RUNS, 5);
    for (uint64_t i = 0; i < TASKS; i++) {
        refs[i] = count_hits_async(&many, i, 2000);
    }
    uint64_t digits = 0;
    for (int i = 0; i < TASKS; i++) {
        uint64_t hits;
        CHECK(count_hits_get(refs[i], &hits) == MANTA_OK);
        digits = digits * 31 + hits;
    }
    CHECK(map_hits_map_get(map, runs, RUNS) == MANTA_OK);
    for (int i = 0; i < RUNS; i++) {
        digits = digits * 31 + runs[i];
    }
    want_digits = want_digits ? want_digits : digits;
    CHECK(digits == want_digits);
    return 0;
}

/* ---- 90: bad input -------------------------------------------------------------------------- */

static int behaviour_90_bad_refs_and_options_are_errors(int argc, char **argv)
{
    int64_t y = -1;
    int32_t small;
    const void *data;
    size_t bytes;
    uint64_t done;
    manta_ref zero = {0}, stale = {12345, 6, world_size() - 1}, foreign = {1, 2, UINT32_MAX};
    manta_options nowhere = {.rank = MANTA_ON(world_size())}, far = on_far();
    CHECK(square_get(square_async(&nowhere, 2), &y) == MANTA_E_INVALID &&
          error_says("option rank"));
    CHECK(manta_get(zero, &y, sizeof y) == MANTA_E_INVALID && error_says("zero"));
    CHECK(manta_get(stale, &y, sizeof y) == MANTA_E_NOTFOUND &&
          manta_get(foreign, &y, 8) == MANTA_E_NOTFOUND);
    CHECK(manta_cancel(stale) == MANTA_E_NOTFOUND && manta_drop(foreign) == MANTA_E_NOTFOUND);
    manta_ref dropped = square_async(&far, 3);
    CHECK(manta_drop(dropped) == MANTA_OK && manta_get(dropped, &y, sizeof y) == MANTA_E_NOTFOUND);
    CHECK(increment_get(increment_async(NULL, stale), &y) == MANTA_E_NOTFOUND &&
          error_says("argument x"));
    manta_ref ref = square_async(&far, 4);
    CHECK(manta_get(ref, &small, sizeof small) == MANTA_E_TYPE && error_says("8 bytes"));
    CHECK(manta_view(ref, NULL, &bytes) == MANTA_E_INVALID &&
          manta_view(ref, &data, &bytes) == MANTA_OK);
    CHECK(manta_unview(ref) == MANTA_OK && manta_unview(ref) == MANTA_E_STATE);
    CHECK(manta_map_progress(ref, &done) == MANTA_E_TYPE && manta_keep(ref) == MANTA_E_STATE);
    CHECK(manta_scope_end() == MANTA_E_STATE && y == -1);
    return 0;
}

static manta_queue *forgotten[2];

MANTA_TASK(forget_queue, val(int32_t, is_failing))
{
    MANTA_TRY(manta_queue_create(&forgotten[1]));
    MANTA_TRY(manta_queue_add(forgotten[1], square_async(NULL, 4), NULL));
    MANTA_TRY(manta_queue_add(forgotten[1], compute_async(NULL, 20 * MS), NULL));
    return is_failing ? manta_fail(3, "before the queue was destroyed") : MANTA_OK;
}

static int behaviour_90_a_queue_left_behind_does_not_hold_up_the_end(int argc, char **argv)
{
    manta_ref slow = until_cancelled_async(NULL, MS);
    manta_options far = on_far();
    manta_queue_destroy(forgotten[0]); /* of the run before */
    manta_queue_destroy(forgotten[1]);
    forgotten[0] = forgotten[1] = NULL;
    CHECK(manta_queue_create(&forgotten[0]) == MANTA_OK);
    CHECK(manta_queue_add(forgotten[0], slow, NULL) == MANTA_OK);
    CHECK(manta_queue_add(forgotten[0], square_async(&far, 3), NULL) == MANTA_OK);
    CHECK(manta_cancel(slow) == MANTA_OK);
    CHECK(forget_queue_get(forget_queue_async(&far, 1)) == 3);
    return 0;
}

/* What the program still has of it afterwards can only be destroyed. */
static void behaviour_90_a_queue_outlives_its_run(void **state)
{
    struct world_options options = {.seed = 3, .ranks = 2};
    struct world_result result;
    assert_int_equal(
        world_run(&options, behaviour_90_a_queue_left_behind_does_not_hold_up_the_end, &result), 0);
    assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    manta_queue_destroy(forgotten[0]);
    manta_queue_destroy(forgotten[1]);
}

/* ---- All of them ---------------------------------------------------------------------------- */

/* At the cap of parked stacks new tasks wait, and a waiter runs what it awaits itself. */
static void at_the_stack_cap(manta_driver driver)
{
    tree_depth = 3;
    for (uint32_t parked_max = 1; parked_max <= 4; parked_max++) {
        run_with((struct world_options){.parked_max = parked_max}, driver);
    }
    tree_depth = 5;
}

static void behaviour_06_nested_get_at_the_stack_cap(void **state)
{
    at_the_stack_cap(behaviour_06_nested_get_with_fewer_workers_than_parents);
}

static void behaviour_06_nested_wait_at_the_stack_cap(void **state)
{
    at_the_stack_cap(behaviour_06_nested_wait_with_fewer_workers_than_parents);
}

static void behaviour_06_nested_queue_at_the_stack_cap(void **state)
{
    at_the_stack_cap(behaviour_06_nested_queue_with_fewer_workers_than_parents);
}

static void behaviour_82_the_same_digits_on_any_ranks_and_after_kills(void **state)
{
    uint64_t retried = 0;
    want_digits = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        static const uint32_t sizes[] = {1, 2, 7, 64};
        struct world_options options = {.seed = seed, .ranks = sizes[seed % 4]};
        struct world_result result;
        options.kills = seed > 4 && options.ranks > 1 ? 1 + (uint32_t)seed % 4 : 0;
        options.kill_within_ns = 300000;
        assert_int_equal(world_run(&options, behaviour_82_the_same_digits_everywhere, &result), 0);
        assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
        assert_true(want_digits != 0);
        retried += result.total.retried;
    }
    assert_true(retried > 0);
}

#define EACH_DRIVER(X)                                                                             \
    X(behaviour_01_values_round_trip_nested_and_large)                                             \
    X(behaviour_01_the_limit_inside_messages_is_exact)                                             \
    X(behaviour_02_chain_of_100_across_ranks)                                                      \
    X(behaviour_04_three_outputs_are_three_refs)                                                   \
    X(behaviour_05_all_outputs_fail_with_the_same_cause)                                           \
    X(behaviour_06_nested_get_with_fewer_workers_than_parents)                                     \
    X(behaviour_06_nested_wait_with_fewer_workers_than_parents)                                    \
    X(behaviour_06_nested_queue_with_fewer_workers_than_parents)                                   \
    X(behaviour_10_errors_name_task_place_and_cause)                                               \
    X(behaviour_10_exceptions_are_error_records)                                                   \
    X(behaviour_11_order_is_kept_and_duplicates_are_fine)                                          \
    X(behaviour_12_get_succeeds_after_a_timeout)                                                   \
    X(behaviour_13_a_failure_is_seen_while_others_run)                                             \
    X(behaviour_15_wait_marks_exactly_k)                                                           \
    X(behaviour_16_a_timeout_gives_the_partial_split)                                              \
    X(behaviour_17_wait_refuses_duplicates_and_accepts_nothing)                                    \
    X(behaviour_18_wait_zero_sees_remote_completions)                                              \
    X(behaviour_90_bad_refs_and_options_are_errors)                                                \
    X(behaviour_90_a_queue_left_behind_does_not_hold_up_the_end)

EACH_DRIVER(TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_DRIVER(ENTRY) cmocka_unit_test(behaviour_90_a_queue_outlives_its_run),
        cmocka_unit_test(behaviour_06_nested_get_at_the_stack_cap),
        cmocka_unit_test(behaviour_06_nested_wait_at_the_stack_cap),
        cmocka_unit_test(behaviour_06_nested_queue_at_the_stack_cap),
        cmocka_unit_test(behaviour_82_the_same_digits_on_any_ranks_and_after_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
