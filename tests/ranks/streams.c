/*
 * Streams between real ranks: every rank yields and every rank reads, small items and large ones,
 * and through a chain over all ranks. With a file's name, a source and a reader each end their own
 * process in the middle, once: the file says that it was done. Rank 0 prints "right".
 *
 *     streams [FILE]
 */
#include <fcntl.h>
#include <manta/manta.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 3000, LARGE = 300000, LARGE_ITEMS = 40 };

/* The first time, for this purpose; not on rank 0, with which the job would end. */
static void die_once(const char *file, const char *why)
{
    manta_world world;
    char name[4096];
    snprintf(name, sizeof name, "%s.%s", file, why);
    bool may_die = *file && manta_world_get(&world) == MANTA_OK && world.rank != 0;
    int fd = may_die ? open(name, O_CREAT | O_EXCL | O_WRONLY, 0600) : -1;
    if (fd >= 0) {
        close(fd);
        kill(getpid(), SIGKILL);
    }
}

MANTA_TASK(count_up, val(int64_t, n), text(file), stream(int64_t, xs))
{
    for (int64_t i = 0; i < n; i++) {
        if (i == n / 2) {
            die_once(file, "source");
        }
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return MANTA_OK;
}

static int take(manta_ref stream, int64_t *ret_x)
{
    manta_ref item;
    MANTA_TRY(manta_next(stream, MANTA_FOREVER, &item));
    MANTA_TRY(manta_get(item, ret_x, sizeof *ret_x));
    return manta_drop(item);
}

MANTA_TASK(sum_up, ref(xs), text(file), out(int64_t, total))
{
    int64_t x, count = 0;
    int code;
    while ((code = take(xs, &x)) == MANTA_OK) {
        if (x != count++) {
            return manta_fail(1, "item %lld came as number %lld", (long long)x, (long long)count);
        }
        if (count == ITEMS / 3) {
            die_once(file, "reader");
        }
        *total += x;
    }
    return code == MANTA_E_END ? MANTA_OK : code;
}

MANTA_TASK(one_more, ref(xs), stream(int64_t, ys))
{
    int64_t x;
    int code;
    while ((code = take(xs, &x)) == MANTA_OK) {
        x++;
        MANTA_TRY(manta_yield(ys, &x, 1));
    }
    return code == MANTA_E_END ? MANTA_OK : code;
}

MANTA_TASK(large_items, val(int64_t, n), stream(uint8_t, bytes))
{
    for (int64_t i = 0; i < n; i++) {
        void *room = manta_yield_alloc(bytes, LARGE);
        if (!room) {
            return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
        }
        memset(room, (int)i, LARGE);
        MANTA_TRY(manta_yield(bytes, room, LARGE));
    }
    return MANTA_OK;
}

MANTA_TASK(read_large, ref(bytes), out(int64_t, count))
{
    manta_ref item;
    const void *data;
    size_t size;
    int code;
    while ((code = manta_next(bytes, MANTA_FOREVER, &item)) == MANTA_OK) {
        MANTA_TRY(manta_view(item, &data, &size));
        const uint8_t *at = (const uint8_t *)data;
        if (size != LARGE || at[0] != (uint8_t)*count || at[LARGE - 1] != (uint8_t)*count) {
            return manta_fail(1, "item %lld is another one", (long long)*count);
        }
        ++*count;
        MANTA_TRY(manta_unview(item));
        MANTA_TRY(manta_drop(item));
    }
    return code == MANTA_E_END ? MANTA_OK : code;
}

static int wrong(const char *what)
{
    printf("%s: %s\n", what, manta_last_error()->text);
    return 1;
}

static int check_pair(uint32_t source, uint32_t reader)
{
    const manta_options there = {.rank = MANTA_ON(source)}, here = {.rank = MANTA_ON(reader)};
    int64_t total, count;
    manta_ref sum = sum_up_async(&here, count_up_async(&there, ITEMS, ""), "");
    manta_ref large = read_large_async(&here, large_items_async(&there, LARGE_ITEMS));
    if (sum_up_get(sum, &total) != MANTA_OK || total != (int64_t)ITEMS * (ITEMS - 1) / 2) {
        return wrong("small items");
    }
    if (read_large_get(large, &count) != MANTA_OK || count != LARGE_ITEMS) {
        return wrong("large items");
    }
    return 0;
}

static int check_chain(uint32_t ranks)
{
    manta_ref xs = count_up_async(NULL, ITEMS, "");
    int64_t x, count = 0;
    for (uint32_t i = 0; i < ranks; i++) {
        const manta_options there = {.rank = MANTA_ON(i)};
        xs = one_more_async(&there, xs);
    }
    while (take(xs, &x) == MANTA_OK) {
        if (x != count++ + ranks) {
            return wrong("a chain");
        }
    }
    return count != ITEMS || manta_last_error()->code != MANTA_E_END ? wrong("a chain's end") : 0;
}

/* Many at once, so that they are on all ranks. */
static int check_deaths(const char *file)
{
    enum { PAIRS = 12 };
    manta_ref sums[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        manta_ref xs = count_up_async(MANTA_OPTIONS(.retries = 10), ITEMS, file);
        sums[i] = sum_up_async(MANTA_OPTIONS(.retries = 10), xs, file);
    }
    for (int i = 0; i < PAIRS; i++) {
        int64_t total;
        if (sum_up_get(sums[i], &total) != MANTA_OK || total != (int64_t)ITEMS * (ITEMS - 1) / 2) {
            return wrong("after deaths");
        }
    }
    return 0;
}

static int driver(int argc, char **argv)
{
    manta_world world;
    if (manta_world_get(&world) != MANTA_OK) {
        return 1;
    }
    for (uint32_t source = 0; argc < 2 && source < world.size; source++) {
        for (uint32_t reader = 0; reader < world.size; reader++) {
            if (check_pair(source, reader)) {
                return 1;
            }
        }
    }
    if (argc < 2 ? check_chain(world.size) : check_deaths(argv[1])) {
        return 1;
    }
    puts("right");
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
