/*
 * Behaviour 90: every public call with bad input gives an error that names the argument; nothing
 * crashes, nothing leaks (the address sanitizer and base_alloc_live say so). And behaviour 9:
 * the calls are safe from many threads at once (the thread sanitizer says so).
 *
 * On real threads, in a world of one, through manta_init as a program would. Each test is
 * its own run from start to end. What needs other ranks is in tests/sim/test_behaviours.c.
 */
#include "base/alloc.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <manta/manta.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(all_kinds, val(int32_t, v), text(t), span(int16_t, s), in(int64_t, i), ref(r), refs(rs),
           out(int64_t, y))
{
    *y = v + (int64_t)s_len + i[0] + (int64_t)rs_len + (t != NULL);
    return MANTA_OK;
}

MANTA_TASK(twice, inout(int64_t, x))
{
    x[0] *= 2;
    return MANTA_OK;
}

MANTA_TASK(two_outputs, out(int64_t, a), out(int64_t, b))
{
    *a = *b = 1;
    return MANTA_OK;
}

MANTA_TASK(variable, val(uint64_t, count), outv(int32_t, xs))
{
    return manta_outv_alloc(xs, count) ? MANTA_OK : manta_fail(MANTA_E_TOOBIG, "too many");
}

MANTA_TASK(index_of, out(uint64_t, index))
{
    *index = manta_map_index();
    return MANTA_OK;
}

MANTA_TASK(until_cancelled, val(int32_t, unused))
{
    while (!manta_cancelled()) {}
    return MANTA_E_CANCELLED;
}

static uint64_t live_before;

static int start(void **state)
{
    live_before = base_alloc_live();
    manta_config config = {.workers = 2};
    return manta_init(&config);
}

static int stop(void **state)
{
    return manta_fini();
}

/* The call failed with this code, and the record names what was wrong. */
static void refused(int got, int want, const char *naming)
{
    const manta_error *error = manta_last_error();
    if (got != want || error->code != want || !strstr(error->text, naming)) {
        print_message("got %s, record %s: \"%s\"; wanted %s naming \"%s\"\n", manta_error_name(got),
                      manta_error_name(error->code), error->text, manta_error_name(want), naming);
        fail();
    }
}

static const manta_ref zero_ref, stale_ref = {77, 3, 0},
                                 far_ref = {UINT64_MAX, UINT32_MAX, UINT32_MAX};

static void behaviour_90_get_and_view_with_bad_input(void **state)
{
    int64_t y = 5;
    const void *data = &y;
    size_t bytes = 3;
    manta_ref ref = square_async(NULL, 3);
    refused(manta_get(zero_ref, &y, sizeof y), MANTA_E_INVALID, "ref");
    refused(manta_get(stale_ref, &y, sizeof y), MANTA_E_NOTFOUND, "ref");
    refused(manta_get(far_ref, &y, sizeof y), MANTA_E_NOTFOUND, "ref");
    refused(manta_get(ref, NULL, sizeof y), MANTA_E_INVALID, "value is NULL");
    refused(manta_get(ref, &y, 0), MANTA_E_TYPE, "8 bytes");
    refused(manta_get(ref, NULL, 0), MANTA_E_TYPE, "8 bytes");
    refused(manta_get(ref, &y, SIZE_MAX), MANTA_E_TYPE, "8 bytes");
    refused(manta_view(ref, NULL, &bytes), MANTA_E_INVALID, "ret_data is NULL");
    refused(manta_view(ref, &data, NULL), MANTA_E_INVALID, "ret_bytes is NULL");
    refused(manta_view(zero_ref, &data, &bytes), MANTA_E_INVALID, "ref");
    refused(manta_unview(ref), MANTA_E_STATE, "view");
    refused(manta_unview(stale_ref), MANTA_E_NOTFOUND, "ref");
    assert_true(y == 5 && data == &y && bytes == 3);
    assert_int_equal(square_get(ref, &y), MANTA_OK);
    assert_int_equal(manta_drop(ref), MANTA_OK);
    refused(manta_get(ref, &y, sizeof y), MANTA_E_NOTFOUND, "ref");
    refused(manta_view(ref, &data, &bytes), MANTA_E_NOTFOUND, "ref");
    refused(manta_drop(ref), MANTA_E_NOTFOUND, "ref");
}

static void behaviour_90_wait_with_bad_input(void **state)
{
    manta_ref refs[2] = {square_async(NULL, 1), square_async(NULL, 2)},
              bad[2] = {refs[0], stale_ref};
    uint8_t ready[2] = {9, 9};
    refused(manta_wait(NULL, 2, 1, 0, ready), MANTA_E_INVALID, "refs is NULL");
    refused(manta_wait(refs, 2, 3, 0, ready), MANTA_E_INVALID, "3 of 2");
    refused(manta_wait(refs, SIZE_MAX, 1, 0, ready), MANTA_E_INVALID, "refs");
    refused(manta_wait(refs, 2, SIZE_MAX, 0, ready), MANTA_E_INVALID, "refs");
    refused(manta_wait(bad, 2, 1, MANTA_FOREVER, ready), MANTA_E_NOTFOUND, "ref");
    bad[1] = zero_ref;
    refused(manta_wait(bad, 2, 1, MANTA_FOREVER, ready), MANTA_E_INVALID, "ref");
    bad[1] = refs[0];
    refused(manta_wait(bad, 2, 1, MANTA_FOREVER, ready), MANTA_E_INVALID, "refs[0] and refs[1]");
    assert_true(ready[0] == 9 && ready[1] == 9);
    assert_int_equal(manta_wait(refs, 2, 2, UINT64_MAX - 1, ready), MANTA_OK);
    assert_int_equal(manta_wait(NULL, 0, 0, MANTA_FOREVER, NULL), MANTA_OK);
}

MANTA_TASK(takes_refs, refs(xs))
{
    return MANTA_OK;
}

static void behaviour_90_commands_with_bad_input(void **state)
{
    static char much[MANTA_INLINE_MAX];
    const char *argv[] = {"true", NULL}, *none[] = {NULL}, *empty[] = {"", NULL};
    manta_command_result result;
    manta_ref refs[] = {stale_ref};
    const struct {
        const char *const *argv;
        manta_command_setup setup;
        int code;
        const char *naming;
    } bad[] = {
        {NULL, {0}, MANTA_E_INVALID, "argv is NULL"},
        {none, {0}, MANTA_E_INVALID, "argv is NULL or empty"},
        {empty, {0}, MANTA_E_INVALID, "argv[0] is empty"},
        {argv, {.out = {(manta_stream_to)99, NULL}}, MANTA_E_INVALID, "out.to"},
        {argv, {.out = {MANTA_STREAM_STDOUT, NULL}}, MANTA_E_INVALID, "out.to"},
        {argv, {.err = {(manta_stream_to)-1, NULL}}, MANTA_E_INVALID, "err.to"},
        {argv, {.out = {MANTA_STREAM_FILE, NULL}}, MANTA_E_INVALID, "out.path"},
        {argv, {.err = {MANTA_STREAM_RANK, "x"}}, MANTA_E_INVALID, "err.path"},
        {argv,
         {.environment = (const char *[]){"a=1", "=b", NULL}},
         MANTA_E_INVALID,
         "environment has '=b'"},
        {argv, {.environment = (const char *[]){"", NULL}}, MANTA_E_INVALID, "environment has ''"},
        {argv, {.environment_whole = 2}, MANTA_E_INVALID, "environment_whole"},
        {argv, {.accept_codes = -1}, MANTA_E_INVALID, "accept_codes"},
        {argv, {.input_bytes = 5}, MANTA_E_INVALID, "input is NULL"},
        {argv, {.input = "x", .input_bytes = 1, .input_path = "x"}, MANTA_E_INVALID, "input_path"},
        {argv, {.tail_bytes = 16385}, MANTA_E_INVALID, "tail_bytes"},
        {argv, {.after_len = 1}, MANTA_E_INVALID, "after is NULL"},
        {argv, {.reserved = {0, 0, 0, 1}}, MANTA_E_INVALID, "reserved"},
        {argv, {.input = much, .input_bytes = sizeof much}, MANTA_E_TOOBIG, "true take more than"},
        {argv, {.input = much, .input_bytes = SIZE_MAX}, MANTA_E_TOOBIG, "true take more than"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        manta_ref ref = manta_command(NULL, bad[i].argv, &bad[i].setup);
        assert_int_equal(ref.parent, 0);
        refused(bad[i].code, bad[i].code, bad[i].naming);
    }
    const manta_command_setup after = {.after = refs, .after_len = 1};
    refused(manta_command_get(manta_command(NULL, argv, &after), &result), MANTA_E_NOTFOUND,
            "after");
    refused(manta_command_get(square_async(NULL, 2), &result), MANTA_E_TYPE, "not a command's");
    refused(manta_command_get(zero_ref, &result), MANTA_E_INVALID, "ref");
    refused(manta_command_get(manta_command(NULL, argv, NULL), NULL), MANTA_E_INVALID,
            "ret_result");
    manta_options isolated = {.isolated = 1};
    refused(manta_command_get(manta_command(&isolated, argv, NULL), &result), MANTA_E_INVALID,
            "option isolated");
}

static void behaviour_90_isolation_with_bad_input(void **state)
{
    int64_t y;
    manta_options isolated = {.isolated = 1}, two = {.isolated = 2}, cpus = {.cpus = 1};
    manta_options memory = {.memory_bytes = 1}, many = {.isolated = 1, .cpus = 4097};
    refused(square_get(square_async(&two, 1), &y), MANTA_E_INVALID, "option isolated is 2");
    refused(square_get(square_async(&cpus, 1), &y), MANTA_E_INVALID, "option cpus");
    refused(square_get(square_async(&memory, 1), &y), MANTA_E_INVALID, "option memory_bytes");
    refused(square_get(square_async(&many, 1), &y), MANTA_E_INVALID, "option cpus is 4097");
    refused(takes_refs_get(takes_refs_async(&isolated, NULL, 0)), MANTA_E_INVALID, "parameter xs");
    refused(square_map_get(square_map(&isolated, 1, 1), &y, 1), MANTA_E_INVALID, "a map cannot");
}

static void behaviour_90_queues_with_bad_input(void **state)
{
    manta_queue *queue = NULL, *unused = NULL;
    manta_ref ref;
    void *label;
    refused(manta_queue_create(NULL), MANTA_E_INVALID, "ret_queue is NULL");
    assert_int_equal(manta_queue_create(&queue), MANTA_OK);
    assert_int_equal(manta_queue_create(&unused), MANTA_OK);
    refused(manta_queue_add(NULL, square_async(NULL, 1), NULL), MANTA_E_INVALID, "queue is NULL");
    refused(manta_queue_add(queue, zero_ref, NULL), MANTA_E_INVALID, "ref");
    refused(manta_queue_add(queue, stale_ref, NULL), MANTA_E_NOTFOUND, "ref");
    refused(manta_queue_next(queue, 0, &ref, &label), MANTA_E_NOTFOUND, "empty");
    refused(manta_queue_next(NULL, 0, &ref, &label), MANTA_E_INVALID, "queue is NULL");
    refused(manta_queue_next(queue, 0, NULL, &label), MANTA_E_INVALID, "ret_ref is NULL");
    assert_int_equal(manta_queue_add(queue, square_async(NULL, 1), NULL), MANTA_OK);
    assert_int_equal(manta_queue_next(queue, MANTA_FOREVER, &ref, NULL), MANTA_OK);
    assert_int_equal(manta_queue_add(queue, until_cancelled_async(NULL, 1), NULL), MANTA_OK);
    refused(manta_queue_next(queue, MS, &ref, &label), MANTA_E_TIMEOUT, "queue");
    manta_queue_destroy(queue);
    manta_queue_destroy(unused);
    manta_queue_destroy(NULL);
}

static void behaviour_90_arguments_that_are_null_or_huge(void **state)
{
    int64_t y, one = 1;
    int32_t v = 1;
    int16_t s = 2;
    manta_ref refs[2] = {square_async(NULL, 3), square_async(NULL, 3)}, made;
    const char *const names[] = {"v", "t", "s", "i", "r", "rs"};
    for (int i = 0; i < 6; i++) {
        manta_slot slots[7] = {{&v, 1},       {(void *)"text", 4}, {&s, 1},
                               {&refs[0], 1}, {&refs[0], 1},       {refs, 2}};
        slots[i].data = NULL;
        manta_submit(&all_kinds_function, NULL, slots, &made);
        char naming[32];
        snprintf(naming, sizeof naming, "argument %s is NULL", names[i]);
        if (i == 1) {
            assert_int_equal(manta_get(made, &y, sizeof y), MANTA_OK);
        } else {
            refused(manta_get(made, &y, sizeof y), MANTA_E_INVALID, naming);
        }
        slots[i].count = 0; /* val, in, ref need one all the same */
        manta_submit(&all_kinds_function, NULL, slots, &made);
        if (i == 0 || i == 3 || i == 4) {
            refused(manta_get(made, &y, sizeof y), MANTA_E_INVALID, naming);
        } else {
            assert_int_equal(manta_get(made, &y, sizeof y), MANTA_OK);
        }
    }
    made = all_kinds_async(NULL, 1, "t", &s, SIZE_MAX, refs[0], refs[0], refs, 1);
    refused(manta_get(made, &y, sizeof y), MANTA_E_TOOBIG, "argument s has");
    made = all_kinds_async(NULL, 1, "t", &s, 1, refs[0], refs[0], refs, SIZE_MAX / 16);
    refused(manta_get(made, &y, sizeof y), MANTA_E_TOOBIG, "argument rs has");
    made = all_kinds_async(NULL, 1, "t", &s, 1, refs[0], stale_ref, refs, 2);
    refused(manta_get(made, &y, sizeof y), MANTA_E_NOTFOUND, "argument r is");
    made = all_kinds_async(NULL, 1, "t", &s, 1, zero_ref, refs[0], refs, 2);
    refused(manta_get(made, &y, sizeof y), MANTA_E_NOTFOUND,
            "argument i is a ref that is all zero");
    refs[1] = far_ref;
    made = all_kinds_async(NULL, 1, "t", &s, 1, refs[0], refs[0], refs, 2);
    refused(manta_get(made, &y, sizeof y), MANTA_E_NOTFOUND, "argument rs is");
    (void)one;
}

static void behaviour_90_submit_and_map_with_bad_input(void **state)
{
    static manta_function unknown = {.name = "unknown", .file = "here.c", .param_count = 1};
    manta_ref refs[2] = {stale_ref, stale_ref};
    int64_t x = 3, values[4];
    int32_t codes[4];
    uint64_t done;
    manta_slot slots[] = {{&x, 1}, {NULL, 0}};
    manta_submit(NULL, NULL, slots, refs);
    refused(manta_last_error()->code, MANTA_E_INVALID, "function is NULL");
    assert_memory_equal(&refs[0], &zero_ref, sizeof zero_ref);
    manta_submit(&square_function, NULL, slots, NULL);
    refused(manta_last_error()->code, MANTA_E_INVALID, "ret_refs is NULL");
    manta_submit(&square_function, NULL, NULL, refs);
    refused(manta_last_error()->code, MANTA_E_INVALID, "args is NULL");
    assert_true(refs[0].parent == 0 && refs[1].parent == stale_ref.parent);
    manta_submit(&unknown, NULL, slots, refs);
    refused(manta_last_error()->code, MANTA_E_INVALID, "unknown is not registered");
    assert_true(manta_map(NULL, NULL, slots, 4).parent == 0);
    refused(manta_last_error()->code, MANTA_E_INVALID, "function is NULL");
    assert_true(manta_map(&square_function, NULL, NULL, 4).parent == 0);
    refused(manta_last_error()->code, MANTA_E_INVALID, "args is NULL");
    assert_true(manta_map(&unknown, NULL, slots, 4).parent == 0);
    refused(manta_last_error()->code, MANTA_E_INVALID, "not registered");
    refused(manta_map_get(square_map(NULL, UINT64_MAX, 3), values, 8, 4, codes), MANTA_E_LIMIT,
            "runs were asked");
    refused(manta_map_get(manta_map(&two_outputs_function, NULL, slots, 4), values, 8, 4, codes),
            MANTA_E_TYPE, "2 outputs");
    manta_ref map = square_map(NULL, 4, 3);
    refused(manta_map_get(map, NULL, 8, 4, codes), MANTA_E_INVALID, "values is NULL");
    refused(manta_map_get(map, values, 4, 4, codes), MANTA_E_TYPE, "4 values of 8 bytes");
    refused(manta_map_get(map, values, 8, SIZE_MAX, codes), MANTA_E_TYPE, "4 values of 8 bytes");
    refused(manta_map_get(zero_ref, values, 8, 4, codes), MANTA_E_INVALID, "ref");
    refused(manta_map_get(square_async(NULL, 1), values, 8, 1, codes), MANTA_E_TYPE, "not a map");
    refused(manta_map_get(manta_map_at(map, 1), values, 8, 1, codes), MANTA_E_TYPE, "not a map");
    refused(manta_map_progress(map, NULL), MANTA_E_INVALID, "ret_done is NULL");
    refused(manta_map_progress(stale_ref, &done), MANTA_E_NOTFOUND, "ref");
    assert_true(manta_map_at(map, 3).parent == map.parent && manta_map_at(map, 4).parent == 0);
    assert_true(manta_map_at(map, UINT64_MAX).parent == 0 &&
                manta_map_at(stale_ref, 0).parent == 0);
    assert_int_equal(square_map_get(square_map(NULL, 0, 3), values, 0), MANTA_OK);
    assert_int_equal(manta_map_get(map, values, 8, 4, NULL), MANTA_OK);
}

static void behaviour_90_options_out_of_range(void **state)
{
    char name[80];
    int64_t y;
    memset(name, 'n', sizeof name);
    name[63] = '\0';
    const manta_options fine[] = {{.name = name},
                                  {.name = ""},
                                  {.priority = -8},
                                  {.priority = 7},
                                  {.rank = MANTA_ON(0)},
                                  {.retries = MANTA_NO_RETRY},
                                  {.timeout_ns = UINT64_MAX}};
    const manta_options bad[] = {
        {.priority = -9}, {.priority = INT32_MAX}, {.rank = MANTA_ON(1)}, {.rank = UINT32_MAX},
        {.retries = -2},  {.retries = INT32_MAX},  {.retry_errors = 9},   {.reserved = {1}}};
    const char *const naming[] = {"option priority",     "option priority",   "option rank",
                                  "option rank",         "option retries",    "option retries",
                                  "option retry_errors", "option reserved[0]"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_int_equal(square_get(square_async(&fine[i], 2), &y), MANTA_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refused(square_get(square_async(&bad[i], 2), &y), MANTA_E_INVALID, naming[i]);
        refused(manta_map_get(square_map(&bad[i], 1, 2), &y, 8, 1, NULL), MANTA_E_INVALID,
                naming[i]);
    }
    name[63] = 'n';
    name[79] = '\0';
    manta_options longer = {.name = name};
    refused(square_get(square_async(&longer, 2), &y), MANTA_E_INVALID, "option name");
}

static void behaviour_90_holding_and_cancelling_with_bad_input(void **state)
{
    manta_error error = {.code = 1};
    manta_ref ref = square_async(NULL, 3), consumed = square_async(NULL, 4);
    int64_t y;
    refused(manta_drop(zero_ref), MANTA_E_INVALID, "ref");
    refused(manta_drop(far_ref), MANTA_E_NOTFOUND, "ref");
    refused(manta_keep(ref), MANTA_E_STATE, "actor");
    refused(manta_cancel(zero_ref), MANTA_E_INVALID, "ref");
    refused(manta_cancel(stale_ref), MANTA_E_NOTFOUND, "ref");
    refused(manta_scope_end(), MANTA_E_STATE, "scope");
    refused(manta_ref_error(ref, NULL), MANTA_E_INVALID, "ret_error is NULL");
    refused(manta_ref_error(zero_ref, &error), MANTA_E_INVALID, "ref");
    assert_int_equal(square_get(ref, &y), MANTA_OK);
    refused(manta_ref_error(ref, &error), MANTA_E_STATE, "value");
    refused(manta_world_get(NULL), MANTA_E_INVALID, "ret_world is NULL");
    refused(manta_stats_get(NULL), MANTA_E_INVALID, "ret_stats is NULL");
    refused(manta_store_stats(NULL), MANTA_E_INVALID, "ret_info is NULL");
    refused(manta_store_each(NULL, NULL), MANTA_E_INVALID, "each is NULL");
    refused(manta_store_dump(NULL), MANTA_E_INVALID, "path is NULL");
    refused(manta_store_dump(""), MANTA_E_INVALID, "path is empty");
    refused(manta_store_dump("/nowhere/at/all"), MANTA_E_SYSTEM, "/nowhere/at/all");
    refused(manta_explain(ref, NULL, 9), MANTA_E_INVALID, "ret_text is NULL");
    refused(manta_explain(ref, error.text, 0), MANTA_E_INVALID, "size is 0");
    assert_int_equal(error.code, 1);
    manta_ref twice_ref = twice_async(NULL, consumed);
    refused(square_get(consumed, &y), MANTA_E_NOTFOUND, "ref");
    assert_int_equal(manta_get(twice_ref, &y, sizeof y), MANTA_OK);
    assert_int_equal(y, 32);
    assert_int_equal(manta_scope_begin(), MANTA_OK);
    manta_ref inside = square_async(NULL, 3);
    assert_int_equal(manta_scope_end(), MANTA_OK);
    refused(manta_get(inside, &y, sizeof y), MANTA_E_NOTFOUND, "ref");
}

MANTA_TASK(misuse_inside, out(int32_t, wrong), outv(int64_t, xs))
{
    char long_text[1000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    *wrong += manta_outv_alloc(NULL, 1) != NULL;
    *wrong += manta_outv_alloc(xs, SIZE_MAX) != NULL;
    *wrong += manta_outv_alloc(xs, (size_t)1 << 50) != NULL;
    *wrong += strstr(manta_last_error()->text, "MANTA_STORE") == NULL;
    *wrong += manta_outv_alloc(xs, 2) == NULL;
    *wrong += manta_outv_alloc(xs, 2) != NULL;
    *wrong += manta_scope_end() != MANTA_E_STATE;
    *wrong += manta_map_index() != 0;
    *wrong += manta_cancelled();
    *wrong += manta_fail(MANTA_OK, "nothing") != MANTA_OK;
    *wrong += manta_fail(9, NULL) != 9;
    *wrong += manta_fail(9, "%s", long_text) != 9;
    *wrong += manta_drop(stale_ref) != MANTA_E_NOTFOUND;
    *wrong += strcmp(manta_last_error()->task, "misuse_inside") != 0;
    *wrong += manta_init(NULL) != MANTA_E_STATE;
    return MANTA_OK;
}

MANTA_TASK(fails_strangely, val(int32_t, code))
{
    return code == 1 ? manta_fail(INT32_MIN, NULL) : code == 2 ? INT32_MAX : -77;
}

static void behaviour_90_misuse_inside_a_task(void **state)
{
    int32_t wrong = -1;
    const int64_t *xs;
    size_t count = 0;
    assert_int_equal(misuse_inside_get(misuse_inside_async(NULL), &wrong, &xs, &count), MANTA_OK);
    assert_true(wrong == 0 && count == 2);
    assert_int_equal(fails_strangely_get(fails_strangely_async(NULL, 1)), INT32_MIN);
    assert_int_equal(fails_strangely_get(fails_strangely_async(NULL, 2)), INT32_MAX);
    assert_int_equal(fails_strangely_get(fails_strangely_async(NULL, 3)), -77);
    refused(manta_get(variable_async(NULL, SIZE_MAX), NULL, 0), MANTA_E_TOOBIG, "too many");
}

MANTA_TASK(yields, val(int32_t, n), stream(int32_t, xs))
{
    for (int32_t i = 0; i < n; i++) {
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return MANTA_OK;
}

static manta_source *somebody_elses;

MANTA_TASK(yields_wrongly, stream(int64_t, xs))
{
    int64_t x = 1, *room;
    somebody_elses = xs;
    refused(manta_yield(NULL, &x, 1), MANTA_E_INVALID, "stream is NULL");
    refused(manta_yield(xs, NULL, 2), MANTA_E_INVALID, "items is NULL");
    refused(manta_yield(xs, &x, SIZE_MAX), MANTA_E_TOOBIG, "MANTA_STORE");
    assert_null(manta_yield_alloc(NULL, 1));
    assert_int_equal(manta_last_error()->code, MANTA_E_INVALID);
    assert_null(manta_yield_alloc(xs, SIZE_MAX));
    assert_int_equal(manta_last_error()->code, MANTA_E_TOOBIG);
    room = (int64_t *)manta_yield_alloc(xs, 2);
    assert_non_null(room);
    assert_null(manta_yield_alloc(xs, 1));
    refused(manta_yield(xs, &x, 1), MANTA_E_STATE, "manta_yield_alloc was not yielded");
    refused(manta_yield(xs, room, 3), MANTA_E_INVALID, "room for 2");
    room[0] = 5;
    assert_int_equal(manta_yield(xs, room, 1), MANTA_OK);
    assert_int_equal(manta_yield(xs, NULL, 0), MANTA_OK);
    (void)manta_yield_alloc(xs, 1); /* and left */
    return MANTA_OK;
}

MANTA_TASK(yields_for_another, val(int32_t, unused))
{
    int64_t x = 1;
    refused(manta_yield(somebody_elses, &x, 1), MANTA_E_STATE, "its own task");
    return MANTA_OK;
}

/* Its source lives while nobody reads it. */
MANTA_TASK(lends_its_source, stream(int64_t, xs))
{
    int64_t x = 1;
    somebody_elses = xs;
    return yields_for_another_get(yields_for_another_async(NULL, 0)) ? MANTA_E_TASK
                                                                     : manta_yield(xs, &x, 1);
}

static void behaviour_90_streams_with_bad_input(void **state)
{
    manta_ref item = stale_ref, xs = yields_async(NULL, 2), y = square_async(NULL, 3);
    int64_t x;
    uint64_t count;
    size_t bytes;
    const void *data;
    refused(manta_next(xs, MANTA_FOREVER, NULL), MANTA_E_INVALID, "ret_item is NULL");
    refused(manta_next(zero_ref, 0, &item), MANTA_E_INVALID, "ref");
    refused(manta_next(stale_ref, 0, &item), MANTA_E_NOTFOUND, "ref");
    refused(manta_next(far_ref, 0, &item), MANTA_E_NOTFOUND, "ref");
    refused(manta_next(y, MANTA_FOREVER, &item), MANTA_E_TYPE, "not a stream");
    refused(manta_yield(somebody_elses, &x, 1), MANTA_E_INVALID, "stream is NULL");
    assert_int_equal(item.parent, stale_ref.parent);
    assert_int_equal(manta_next(xs, MANTA_FOREVER, &item), MANTA_OK);
    refused(manta_get(item, &x, sizeof x), MANTA_E_TYPE, "4 bytes");
    refused(manta_next(item, MANTA_FOREVER, &item), MANTA_E_TYPE, "not a stream");
    assert_int_equal(manta_next(xs, MANTA_FOREVER, &item), MANTA_OK);
    refused(manta_next(xs, MANTA_FOREVER, &item), MANTA_E_END, "no more items");
    assert_int_equal(manta_drop(xs), MANTA_OK);
    refused(manta_next(xs, MANTA_FOREVER, &item), MANTA_E_NOTFOUND, "ref");
    refused(square_get(square_async(MANTA_OPTIONS(.ahead_kib = 1), 2), &x), MANTA_E_INVALID,
            "ahead_kib");
    refused(yields_get(yields_async(MANTA_OPTIONS(.isolated = 1), 1), &count), MANTA_E_INVALID,
            "xs");
    xs = yields_wrongly_async(NULL);
    assert_int_equal(manta_next(xs, MANTA_FOREVER, &item), MANTA_OK);
    assert_int_equal(manta_get(item, &x, sizeof x), MANTA_OK);
    assert_int_equal(x, 5);
    assert_int_equal(manta_next(xs, MANTA_FOREVER, &item), MANTA_OK);
    assert_int_equal(manta_view(item, &data, &bytes), MANTA_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(yields_wrongly_get(xs, &count), MANTA_OK);
    assert_int_equal(count, 2);
    assert_int_equal(lends_its_source_get(lends_its_source_async(NULL), &count), MANTA_OK);
}

static int unused_hook(void *arg)
{
    return 0;
}

static manta_queue *old_queue;

/* Outside a run: before the first and after each. */
static void everything_is_refused(void)
{
    int64_t y = 1;
    int32_t code;
    uint64_t done;
    size_t bytes;
    const void *data;
    void *label;
    manta_ref ref = stale_ref;
    manta_world world;
    manta_error error;
    manta_queue *queue;
    char line[64];
    assert_int_equal(manta_fini(), MANTA_E_STATE);
    assert_int_equal(manta_world_get(&world), MANTA_E_STATE);
    assert_int_equal(manta_explain(ref, line, sizeof line), MANTA_E_STATE);
    assert_int_equal(manta_store_stats(NULL), MANTA_E_STATE);
    assert_int_equal(manta_store_each(NULL, NULL), MANTA_E_STATE);
    assert_int_equal(manta_store_dump("x"), MANTA_E_STATE);
    assert_int_equal(manta_get(ref, &y, 8), MANTA_E_STATE);
    assert_int_equal(manta_view(ref, &data, &bytes), MANTA_E_STATE);
    assert_int_equal(manta_unview(ref), MANTA_E_STATE);
    assert_int_equal(manta_wait(&ref, 1, 1, MANTA_FOREVER, NULL), MANTA_E_STATE);
    assert_int_equal(manta_ref_error(ref, &error), MANTA_E_STATE);
    assert_int_equal(manta_drop(ref), MANTA_E_STATE);
    assert_int_equal(manta_keep(ref), MANTA_E_STATE);
    assert_int_equal(manta_cancel(ref), MANTA_E_STATE);
    assert_int_equal(manta_scope_begin(), MANTA_E_STATE);
    assert_int_equal(manta_scope_end(), MANTA_E_STATE);
    assert_int_equal(manta_queue_create(&queue), MANTA_E_STATE);
    assert_int_equal(manta_queue_add(old_queue, ref, NULL), MANTA_E_STATE);
    assert_int_equal(manta_queue_next(old_queue, 0, &ref, &label), MANTA_E_STATE);
    assert_int_equal(manta_next(ref, MANTA_FOREVER, &ref), MANTA_E_STATE);
    assert_int_equal(manta_yield(NULL, &y, 1), MANTA_E_STATE);
    assert_null(manta_yield_alloc(NULL, 1));
    assert_int_equal(manta_map_get(ref, &y, 8, 1, &code), MANTA_E_STATE);
    assert_int_equal(manta_map_progress(ref, &done), MANTA_E_STATE);
    assert_int_equal(square_get(square_async(NULL, 2), &y), MANTA_E_STATE);
    assert_true(manta_map_at(ref, 0).parent == 0 && square_map(NULL, 3, 2).parent == 0);
    assert_true(!manta_cancelled() && manta_map_index() == 0 && y == 1);
    assert_int_equal(manta_fail(7, "text"), 7);
    assert_null(manta_outv_alloc(NULL, 3));
    assert_int_equal(manta_last_error()->code, MANTA_E_STATE);
    assert_non_null(strstr(manta_last_error()->text, "manta_init"));
    assert_int_equal(manta_hook((manta_moment)9, unused_hook, NULL), MANTA_E_INVALID);
    assert_int_equal(manta_hook(MANTA_AT_START, NULL, NULL), MANTA_E_INVALID);
    assert_true(manta_run(0, NULL, NULL) != 0);
    assert_string_equal(manta_error_name(12345), "user code");
    assert_non_null(manta_error_name(INT32_MIN));
    assert_non_null(manta_error_text(-12345));
    assert_true(manta_error_format(manta_last_error(), NULL, 0) > 0);
    assert_true(manta_error_format(NULL, line, sizeof line) >= 0);
    manta_function_register(NULL);
}

static void behaviour_90_before_start_and_after_stop(void **state)
{
    live_before = base_alloc_live();
    everything_is_refused();
    for (int i = 0; i < 3; i++) {
        manta_config config = {.workers = 2};
        int64_t y;
        assert_int_equal(manta_init(&config), MANTA_OK);
        assert_int_equal(manta_init(&config), MANTA_E_STATE);
        if (old_queue) { /* of the run before */
            manta_ref ref;
            refused(manta_queue_add(old_queue, square_async(NULL, 1), NULL), MANTA_E_STATE,
                    "queue");
            refused(manta_queue_next(old_queue, 0, &ref, NULL), MANTA_E_STATE, "queue");
            manta_queue_destroy(old_queue);
        }
        assert_int_equal(manta_queue_create(&old_queue), MANTA_OK);
        assert_int_equal(manta_queue_add(old_queue, until_cancelled_async(NULL, 1), NULL),
                         MANTA_OK);
        assert_int_equal(manta_queue_add(old_queue, square_async(NULL, 1), NULL), MANTA_OK);
        assert_int_equal(square_get(square_async(NULL, 3), &y), MANTA_OK);
        assert_int_equal(manta_fini(), MANTA_OK);
        everything_is_refused();
    }
    manta_queue_destroy(old_queue);
    old_queue = NULL;
}

/* ---- Many threads --------------------------------------------------------------------------- */

enum { THREADS = 10, ROUNDS = 60 };

static int hammer_once(uint64_t seed, int round)
{
    enum { N = 12 };
    manta_ref refs[N], ready;
    manta_queue *queue;
    int64_t y;
    uint8_t flags[N];
    for (int i = 0; i < N; i++) {
        refs[i] = square_async(NULL, i);
    }
    MANTA_TRY(manta_wait(refs, N, N / 2, MANTA_FOREVER, flags));
    for (int i = 0; i < N; i++) {
        MANTA_TRY(square_get(refs[i], &y));
        MANTA_TRY(y == (int64_t)i * i ? MANTA_OK : MANTA_E_TYPE);
    }
    manta_ref map = index_of_map(NULL, 20), slow = until_cancelled_async(NULL, 0);
    uint64_t indices[20];
    MANTA_TRY(manta_queue_create(&queue));
    MANTA_TRY(manta_queue_add(queue, map, NULL));
    MANTA_TRY(manta_queue_add(queue, slow, NULL));
    MANTA_TRY(manta_cancel(slow));
    MANTA_TRY(manta_queue_next(queue, MANTA_FOREVER, &ready, NULL));
    MANTA_TRY(manta_queue_next(queue, MANTA_FOREVER, &ready, NULL));
    manta_queue_destroy(queue);
    MANTA_TRY(index_of_map_get(map, indices, 20));
    MANTA_TRY(indices[19] == 19 ? MANTA_OK : MANTA_E_TYPE);
    MANTA_TRY(until_cancelled_get(slow) == MANTA_E_CANCELLED ? MANTA_OK : MANTA_E_TYPE);
    MANTA_TRY(manta_get(stale_ref, &y, 8) == MANTA_E_NOTFOUND ? MANTA_OK : MANTA_E_TYPE);
    MANTA_TRY(manta_last_error()->code == MANTA_E_NOTFOUND ? MANTA_OK : MANTA_E_TYPE);
    for (int i = 0; i < N; i++) {
        MANTA_TRY(manta_drop(refs[i]));
    }
    MANTA_TRY(manta_drop(map));
    return manta_drop(slow);
}

static void *hammer(void *arg)
{
    int code = MANTA_OK;
    for (int i = 0; i < ROUNDS && code == MANTA_OK; i++) {
        code = hammer_once((uint64_t)(uintptr_t)arg, i);
        if (code != MANTA_OK) {
            print_message("round %d: %s: %s\n", i, manta_error_name(code),
                          manta_last_error()->text);
        }
    }
    return (void *)(intptr_t)code;
}

MANTA_TASK(with_threads, out(int32_t, code))
{
    pthread_t threads[2];
    void *got;
    for (uintptr_t i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, hammer, (void *)i) != 0) {
            return MANTA_E_SYSTEM;
        }
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &got);
        *code |= (int32_t)(intptr_t)got;
    }
    return MANTA_OK;
}

static void behaviour_09_ten_threads_call_at_once(void **state)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *code;
        pthread_join(threads[i], &code);
        assert_int_equal((intptr_t)code, MANTA_OK);
    }
}

static void behaviour_09_threads_started_by_a_task(void **state)
{
    int32_t code = -1;
    assert_int_equal(with_threads_get(with_threads_async(NULL), &code), MANTA_OK);
    assert_int_equal(code, MANTA_OK);
}

static void *block(void *arg)
{
    static const int64_t count = 20;
    for (int64_t i = 0; i < count; i++) {
        int64_t y;
        if (manta_scope_begin() != MANTA_OK) {
            return (void *)1;
        }
        manta_ref ref = square_async(NULL, i);
        if (square_get(ref, &y) != MANTA_OK || manta_scope_end() != MANTA_OK ||
            manta_drop(ref) != MANTA_E_NOTFOUND) {
            return (void *)2;
        }
    }
    return NULL;
}

static void behaviour_09_scope_blocks_of_threads_are_their_own(void **state)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, block, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

#define IN_A_RUN(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaviour_90_before_start_and_after_stop),
        IN_A_RUN(behaviour_90_get_and_view_with_bad_input),
        IN_A_RUN(behaviour_90_wait_with_bad_input),
        IN_A_RUN(behaviour_90_commands_with_bad_input),
        IN_A_RUN(behaviour_90_isolation_with_bad_input),
        IN_A_RUN(behaviour_90_queues_with_bad_input),
        IN_A_RUN(behaviour_90_arguments_that_are_null_or_huge),
        IN_A_RUN(behaviour_90_submit_and_map_with_bad_input),
        IN_A_RUN(behaviour_90_options_out_of_range),
        IN_A_RUN(behaviour_90_holding_and_cancelling_with_bad_input),
        IN_A_RUN(behaviour_90_misuse_inside_a_task),
        IN_A_RUN(behaviour_90_streams_with_bad_input),
        IN_A_RUN(behaviour_09_ten_threads_call_at_once),
        IN_A_RUN(behaviour_09_threads_started_by_a_task),
        IN_A_RUN(behaviour_09_scope_blocks_of_threads_are_their_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
