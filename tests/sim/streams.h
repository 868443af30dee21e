/* Tasks that yield and read, for the tests and the campaign of streams. */
#ifndef TESTS_SIM_STREAMS_H
#define TESTS_SIM_STREAMS_H

#include "behaviours.h"

enum { LONG_BYTES = 70000 }; /* more than travels in messages */

/* 0, 1, ..., n - 1, with a moment's work before each. */
MANTA_TASK(count_up, val(int64_t, n), val(uint64_t, work_ns), stream(int64_t, xs))
{
    for (int64_t i = 0; i < n; i++) {
        core_work(work_ns);
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return MANTA_OK;
}

static inline int64_t sum_below(int64_t n)
{
    return n * (n - 1) / 2;
}

/* Takes one item of a stream of int64_t and drops it. */
static inline int take_one(manta_ref stream, int64_t *ret_x)
{
    manta_ref item;
    MANTA_TRY(manta_next(stream, MANTA_FOREVER, &item));
    int code = manta_get(item, ret_x, sizeof *ret_x);
    manta_drop(item);
    return code;
}

/* Reads to the end; how many, and their sum. Items must come in order from `first` on. */
static inline int take_all(manta_ref stream, int64_t first, int64_t *ret_count, int64_t *ret_sum)
{
    int64_t x, count = 0, sum = 0;
    int code;
    while ((code = take_one(stream, &x)) == MANTA_OK) {
        if (x != first + count) {
            return manta_fail(100, "item %lld came as number %lld", (long long)x,
                              (long long)(first + count));
        }
        count++;
        sum += x;
    }
    *ret_count = count;
    *ret_sum = sum;
    return code;
}

/* A reader elsewhere: the sum of a stream that counts up from 0. */
MANTA_TASK(sum_up, ref(xs), val(uint64_t, work_ns), out(int64_t, total))
{
    int64_t x, count = 0;
    int code;
    while ((code = take_one(xs, &x)) == MANTA_OK) {
        core_work(work_ns);
        if (x != count++) {
            return manta_fail(101, "item %lld came as number %lld", (long long)x,
                              (long long)count - 1);
        }
        *total += x;
    }
    return code == MANTA_E_END ? MANTA_OK : manta_fail(code, "%s", manta_last_error()->text);
}

/* A generator that reads another one: each item plus one. */
MANTA_TASK(one_more, ref(xs), stream(int64_t, ys))
{
    int64_t x;
    int code;
    while ((code = take_one(xs, &x)) == MANTA_OK) {
        x++;
        MANTA_TRY(manta_yield(ys, &x, 1));
    }
    return code == MANTA_E_END ? MANTA_OK : code;
}

/* The bytes of long item k; the same for all tasks, so that it may be yielded from where it is. */
static inline const uint8_t *long_bytes(int64_t k)
{
    static uint8_t pattern[LONG_BYTES + 256];
    for (size_t i = 0; !pattern[1] && i < sizeof pattern; i++) {
        pattern[i] = (uint8_t)i;
    }
    return pattern + (k & 255);
}

/* n items of LONG_BYTES, every other one written in place. */
MANTA_TASK(long_items, val(int64_t, n), stream(uint8_t, bytes))
{
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *at = long_bytes(i);
        void *room = i % 2 ? manta_yield_alloc(bytes, LONG_BYTES) : NULL;
        if (i % 2 && !room) {
            return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
        }
        if (room) {
            memcpy(room, at, LONG_BYTES);
        }
        MANTA_TRY(manta_yield(bytes, room ? room : at, LONG_BYTES));
    }
    return MANTA_OK;
}

static inline bool is_long_item(manta_ref item, int64_t number)
{
    const void *data;
    size_t bytes;
    if (manta_view(item, &data, &bytes) != MANTA_OK) {
        return false;
    }
    bool is_right = bytes == LONG_BYTES && memcmp(data, long_bytes(number), LONG_BYTES) == 0;
    (void)manta_unview(item);
    return is_right;
}

/* Reads long items; how many there were. */
MANTA_TASK(read_long, ref(bytes), out(int64_t, count))
{
    manta_ref item;
    int code;
    while ((code = manta_next(bytes, MANTA_FOREVER, &item)) == MANTA_OK) {
        if (!is_long_item(item, *count)) {
            return manta_fail(102, "item %lld: %s", (long long)*count, manta_last_error()->text);
        }
        ++*count;
        manta_drop(item);
    }
    return code == MANTA_E_END ? MANTA_OK : manta_fail(code, "%s", manta_last_error()->text);
}

#endif
