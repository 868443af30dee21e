/*
 * Large values over hosts. Rank 0 prints what it finds.
 *
 *     values broadcast   one of 64 MiB is read by every rank at once; how many copies each rank
 *                        made of it
 *     values lost        many are made everywhere, and read on other ranks; then "made", a pause
 *                        for hosts to die in, and all are read again: "right"
 */
#include <manta/manta.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 8 << 20, VALUES = 32, SMALL_WORDS = 1 << 17, PAUSE_SECONDS = 4 };

static uint64_t word(uint64_t key, uint64_t i)
{
    return key * 1000003 + i;
}

static void fill(uint64_t *data, uint64_t words, uint64_t key)
{
    for (uint64_t i = 0; i < words; i++) {
        data[i] = word(key, i);
    }
}

MANTA_TASK(make, val(uint64_t, key), outv(uint64_t, xs))
{
    uint64_t *x = (uint64_t *)manta_outv_alloc(xs, SMALL_WORDS);
    if (!x) {
        return manta_last_error()->code;
    }
    fill(x, SMALL_WORDS, key);
    return MANTA_OK;
}

MANTA_TASK(look, val(uint64_t, key), in(uint64_t, xs), out(int32_t, is_right))
{
    *is_right = 1;
    for (uint64_t i = 0; i < xs_len; i++) {
        *is_right &= xs[i] == word(key, i);
    }
    return MANTA_OK;
}

MANTA_TASK(count_copies, out(uint64_t, copied))
{
    manta_store_info info;
    MANTA_TRY(manta_store_stats(&info));
    *copied = info.copied;
    return MANTA_OK;
}

static int wrong(const char *what, uint64_t which)
{
    printf("%s %llu: %s\n", what, (unsigned long long)which, manta_last_error()->text);
    return 1;
}

static int broadcast(uint32_t ranks)
{
    uint64_t *data = malloc(WORDS * sizeof *data), copied;
    int32_t is_right;
    manta_ref looks[64];
    fill(data, WORDS, 5);
    manta_ref value = manta_put(data, WORDS * sizeof *data);
    free(data);
    for (uint32_t i = 0; i < ranks; i++) {
        looks[i] = look_async(MANTA_OPTIONS(.rank = MANTA_ON(i)), 5, value);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        if (look_get(looks[i], &is_right) != MANTA_OK || !is_right) {
            return wrong("rank", i);
        }
    }
    printf("copies");
    for (uint32_t i = 0; i < ranks; i++) {
        if (count_copies_get(count_copies_async(MANTA_OPTIONS(.rank = MANTA_ON(i))), &copied)) {
            return wrong("rank", i);
        }
        printf(" %llu", (unsigned long long)copied);
    }
    printf("\n");
    return 0;
}

static int look_at_all(const manta_ref *values)
{
    manta_ref looks[VALUES];
    int32_t is_right;
    for (uint64_t i = 0; i < VALUES; i++) {
        looks[i] = look_async(NULL, i, values[i]);
    }
    for (uint64_t i = 0; i < VALUES; i++) {
        if (look_get(looks[i], &is_right) != MANTA_OK || !is_right) {
            return wrong("value", i);
        }
    }
    return 0;
}

static int lost(void)
{
    manta_ref values[VALUES];
    for (uint64_t i = 0; i < VALUES; i++) {
        values[i] = make_async(NULL, i);
    }
    if (manta_wait(values, VALUES, VALUES, MANTA_FOREVER, NULL) || look_at_all(values)) {
        return 1;
    }
    printf("made\n");
    fflush(stdout);
    sleep(PAUSE_SECONDS);
    if (look_at_all(values)) {
        return 1;
    }
    printf("right\n");
    return 0;
}

static int driver(int argc, char **argv)
{
    manta_world world;
    const char *what = argc > 1 ? argv[1] : "";
    if (manta_world_get(&world) != MANTA_OK || world.size > 64) {
        return 1;
    }
    return strcmp(what, "broadcast") == 0 ? broadcast(world.size) : lost();
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
