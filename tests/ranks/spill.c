/*
 * Ten times as much as the store may hold, made and read by every rank. Rank 0 prints "right".
 *
 *     spill              all of that
 *     spill full         puts until it is refused, prints why, and reads what it has
 *     spill wait         the same as the first, but waits for the signal that ends it
 */
#include <manta/manta.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBJECTS = 160, WORDS = 1 << 17 }; /* of 1 MiB */

static void fill(uint64_t *data, uint64_t key)
{
    for (uint64_t i = 0; i < WORDS; i++) {
        data[i] = key * 1000003 + i;
    }
}

static int is_filled(const uint64_t *data, uint64_t key)
{
    for (uint64_t i = 0; i < WORDS; i++) {
        if (data[i] != key * 1000003 + i) {
            return 0;
        }
    }
    return 1;
}

MANTA_TASK(make, val(uint64_t, key), outv(uint64_t, xs))
{
    uint64_t *x = (uint64_t *)manta_outv_alloc(xs, WORDS);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    fill(x, key);
    return MANTA_OK;
}

MANTA_TASK(check, val(uint64_t, key), in(uint64_t, xs), out(int32_t, is_right))
{
    *is_right = xs_len == WORDS && is_filled(xs, key);
    return MANTA_OK;
}

static uint64_t data[WORDS];

static int wrong(const char *what, uint64_t key)
{
    printf("%s %llu: %s\n", what, (unsigned long long)key, manta_last_error()->text);
    return 1;
}

static int make_all(manta_ref *refs)
{
    for (uint64_t i = 0; i < OBJECTS; i++) {
        if (i % 2) {
            refs[i] = make_async(NULL, i);
        } else {
            fill(data, i);
            refs[i] = manta_put(data, sizeof data);
        }
    }
    return manta_wait(refs, OBJECTS, OBJECTS, MANTA_FOREVER, NULL);
}

static int check_all(const manta_ref *refs, uint32_t ranks)
{
    manta_ref checks[OBJECTS];
    int32_t is_right;
    for (uint64_t i = 0; i < OBJECTS; i++) {
        const manta_options on = {.rank = MANTA_ON((uint32_t)i % ranks)};
        checks[i] = check_async(&on, i, refs[i]);
    }
    for (uint64_t i = 0; i < OBJECTS; i++) {
        if (check_get(checks[i], &is_right) != MANTA_OK || !is_right) {
            return wrong("task", i);
        }
        if (manta_get(refs[i], data, sizeof data) != MANTA_OK || !is_filled(data, i)) {
            return wrong("get", i);
        }
    }
    return 0;
}

static int fill_the_disk(void)
{
    manta_ref refs[OBJECTS];
    uint64_t made = 0;
    for (int fits = 1; fits && made < OBJECTS; made += (uint64_t)fits) {
        manta_error error;
        fill(data, made);
        refs[made] = manta_put(data, sizeof data);
        fits = manta_ref_error(refs[made], &error) == MANTA_E_STATE;
        if (!fits) {
            printf("%s\n", error.text);
        }
    }
    while (made-- > 0) {
        if (manta_get(refs[made], data, sizeof data) != MANTA_OK || !is_filled(data, made)) {
            return wrong("get", made);
        }
        manta_drop(refs[made]);
    }
    printf("right\n");
    return 0;
}

static int driver(int argc, char **argv)
{
    manta_ref refs[OBJECTS];
    manta_world world;
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "full") == 0) {
        return fill_the_disk();
    }
    if (manta_world_get(&world) != MANTA_OK || make_all(refs) != MANTA_OK) {
        return wrong("make", 0);
    }
    if (strcmp(what, "wait") == 0) {
        printf("spilled\n");
        fflush(stdout);
        sleep(60);
    }
    if (check_all(refs, world.size)) {
        return 1;
    }
    printf("right\n");
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
