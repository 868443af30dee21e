/*
 * A job that checks itself on any number of ranks: what is submitted from the driver and from
 * tasks, maps, queues, cancellation, errors with their place, all across ranks. Prints "ok" and
 * returns 0, or names the line that does not hold.
 */
#include "check.h"

#include <manta/manta.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 1000, USER_CODE = 42 };

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(where, out(uint32_t, rank))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    *rank = world.rank;
    return MANTA_OK;
}

MANTA_TASK(fibonacci, val(int64_t, n), out(int64_t, f))
{
    int64_t a = 0, b = n;
    if (n > 1) {
        manta_ref left = fibonacci_async(NULL, n - 1), right = fibonacci_async(NULL, n - 2);
        MANTA_TRY(fibonacci_get(left, &a));
        MANTA_TRY(fibonacci_get(right, &b));
    }
    *f = a + b;
    return MANTA_OK;
}

MANTA_TASK(add, in(int64_t, a), in(int64_t, b), out(int64_t, sum))
{
    *sum = *a + *b;
    return MANTA_OK;
}

MANTA_TASK(fails, text(why))
{
    return manta_fail(USER_CODE, "because %s", why);
}

MANTA_TASK(until_cancelled)
{
    while (!manta_cancelled()) {
        usleep(500);
    }
    return MANTA_E_CANCELLED;
}

MANTA_TASK(sum_bytes, span(uint8_t, bytes), out(uint64_t, sum))
{
    for (size_t i = 0; i < bytes_len; i++) {
        *sum += bytes[i];
    }
    return MANTA_OK;
}

MANTA_TASK(bytes, val(uint32_t, count), outv(uint8_t, values))
{
    uint8_t *made = manta_outv_alloc(values, count);
    if (!made) {
        return MANTA_E_NOMEM;
    }
    memset(made, 7, count);
    return MANTA_OK;
}

static int check_every_rank_runs(uint32_t ranks)
{
    for (uint32_t i = 0; i < ranks; i++) {
        uint32_t rank = UINT32_MAX;
        CHECK(where_get(where_async(MANTA_OPTIONS(.rank = MANTA_ON(i))), &rank) == MANTA_OK);
        CHECK(rank == i);
    }
    return 0;
}

static int check_many(void)
{
    static manta_ref refs[MANY];
    int64_t y, sum = 0;
    for (int i = 0; i < MANY; i++) {
        refs[i] = square_async(NULL, i);
    }
    CHECK(manta_wait(refs, MANY, MANY, MANTA_FOREVER, NULL) == MANTA_OK);
    for (int i = 0; i < MANY; i++) {
        CHECK(square_get(refs[i], &y) == MANTA_OK);
        sum += y;
    }
    CHECK(sum == (int64_t)(MANY - 1) * MANY * (2 * MANY - 1) / 6);
    return 0;
}

static int check_nested_and_chained(uint32_t ranks)
{
    int64_t value;
    CHECK(fibonacci_get(fibonacci_async(NULL, 12), &value) == MANTA_OK && value == 144);
    manta_ref sum = square_async(NULL, 0);
    for (uint32_t i = 1; i <= 20; i++) {
        sum = add_async(MANTA_OPTIONS(.rank = MANTA_ON(i % ranks)), sum,
                        square_async(MANTA_OPTIONS(.rank = MANTA_ON((i + 1) % ranks)), i));
    }
    CHECK(add_get(sum, &value) == MANTA_OK && value == 2870);
    return 0;
}

MANTA_TASK(odd_fails, out(uint64_t, index))
{
    *index = manta_map_index();
    return *index % 2 ? USER_CODE : MANTA_OK;
}

static int check_map(void)
{
    static uint64_t values[MANY];
    static int32_t codes[MANY];
    manta_ref map = odd_fails_map(NULL, MANY);
    CHECK(manta_map_get(map, values, sizeof values[0], MANY, codes) == USER_CODE);
    for (int i = 0; i < MANY; i++) {
        CHECK(codes[i] == (i % 2 ? USER_CODE : 0) && (i % 2 || values[i] == (uint64_t)i));
    }
    return 0;
}

static int check_queue(void)
{
    manta_queue *queue;
    manta_ref ref;
    void *label;
    bool seen[100] = {false};
    CHECK(manta_queue_create(&queue) == MANTA_OK);
    for (intptr_t i = 0; i < 100; i++) {
        CHECK(manta_queue_add(queue, square_async(NULL, i), (void *)i) == MANTA_OK);
    }
    for (int i = 0; i < 100; i++) {
        int64_t y;
        CHECK(manta_queue_next(queue, MANTA_FOREVER, &ref, &label) == MANTA_OK);
        intptr_t x = (intptr_t)label;
        CHECK(x >= 0 && x < 100 && !seen[x] && square_get(ref, &y) == MANTA_OK && y == x * x);
        seen[x] = true;
    }
    CHECK(manta_queue_next(queue, 0, &ref, NULL) == MANTA_E_NOTFOUND);
    manta_queue_destroy(queue);
    return 0;
}

static int check_cancel(uint32_t ranks)
{
    for (uint32_t i = 0; i < ranks; i++) {
        manta_ref ref = until_cancelled_async(MANTA_OPTIONS(.rank = MANTA_ON(i)));
        CHECK(manta_wait(&ref, 1, 1, 2000000, NULL) == MANTA_E_TIMEOUT);
        CHECK(manta_cancel(ref) == MANTA_OK);
        CHECK(until_cancelled_get(ref) == MANTA_E_CANCELLED);
    }
    return 0;
}

static int check_errors(uint32_t last)
{
    manta_ref failed =
        fails_async(MANTA_OPTIONS(.rank = MANTA_ON(last), .name = "doomed"), "of this");
    CHECK(fails_get(failed) == USER_CODE);
    const manta_error *error = manta_last_error();
    CHECK(error->code == USER_CODE && error->rank == last && error->attempt == 1 &&
          error->line != 0);
    CHECK(strcmp(error->text, "because of this") == 0 && strcmp(error->task, "doomed") == 0);
    CHECK(strstr(error->file, "check.c") && error->host[0]);
    int64_t value;
    manta_ref two = square_async(NULL, 2);
    CHECK(add_get(add_async(NULL, failed, two), &value) == MANTA_E_DEPENDENCY);
    error = manta_last_error();
    CHECK(error->cause_code == USER_CODE && strcmp(error->cause_task, "doomed") == 0);
    return 0;
}

static int check_large(uint32_t last)
{
    static uint8_t in[60000];
    const uint8_t *out;
    size_t count;
    uint64_t sum;
    const manta_options *there = MANTA_OPTIONS(.rank = MANTA_ON(last));
    memset(in, 3, sizeof in);
    for (int i = 0; i < 20; i++) {
        CHECK(sum_bytes_get(sum_bytes_async(there, in, sizeof in), &sum) == MANTA_OK &&
              sum == 180000);
        manta_ref made = bytes_async(there, 60000);
        CHECK(bytes_get(made, &out, &count) == MANTA_OK && count == 60000 && out[59999] == 7);
        CHECK(manta_unview(made) == MANTA_OK);
    }
    return 0;
}

static int driver(int argc, char **argv)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    CHECK(argc < 2 || world.size == (uint32_t)atoi(argv[1]));
    CHECK(world.rank == 0 && world.workers >= 1 && world.cores >= 1 && world.node_ranks >= 1 &&
          world.node_ranks <= world.size);
    MANTA_TRY(check_every_rank_runs(world.size));
    MANTA_TRY(check_many());
    MANTA_TRY(check_nested_and_chained(world.size));
    MANTA_TRY(check_map());
    MANTA_TRY(check_queue());
    MANTA_TRY(check_cancel(world.size));
    MANTA_TRY(check_errors(world.size - 1));
    MANTA_TRY(check_large(world.size - 1));
    return puts("ok") < 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
