/*
 * Work that must come out right although ranks die: a tree of tasks that submit tasks, with a map
 * at some of its nodes, a map of the driver, a chain; over and over for as many rounds as the
 * argument says. Rank 0 prints "running" at the start, and at the end "right", or what was wrong.
 * RETRIES is for those who kill more ranks than a task may lose by itself. A rank's end takes
 * STOP_MS longer, for those who want to hit it.
 *
 *     endure ROUNDS [RETRIES [STOP_MS]]
 */
#include <manta/manta.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEPTH = 4, FAN_OUT = 4, ELEMENTS = 2000, LINKS = 50, LEAF_US = 500 };
enum { MAP_DEPTH = 2, MAP_ELEMENTS = 200 };

/* The same on all ranks: a task that runs again has to submit the same. */
static manta_options options;

MANTA_TASK(square, out(int64_t, y))
{
    int64_t x = (int64_t)manta_map_index();
    *y = x * x;
    return MANTA_OK;
}

/* How many of a map's values are right. */
static int count_squares(manta_ref map, int64_t elements, int64_t *ret_right)
{
    int64_t *values = calloc((size_t)elements, sizeof *values);
    int32_t *codes = calloc((size_t)elements, sizeof *codes);
    int code = values && codes
                   ? manta_map_get(map, values, sizeof *values, (uint64_t)elements, codes)
                   : MANTA_E_NOMEM;
    *ret_right = 0;
    for (int64_t i = 0; code == MANTA_OK && i < elements; i++) {
        *ret_right += codes[i] == MANTA_OK && values[i] == i * i;
    }
    free(values);
    free(codes);
    return code;
}

MANTA_TASK(tree, val(int, depth), out(int64_t, leaves))
{
    manta_ref children[FAN_OUT];
    *leaves = 1;
    if (depth == 0) {
        usleep(LEAF_US);
        return MANTA_OK;
    }
    for (int i = 0; i < FAN_OUT; i++) {
        children[i] = tree_async(&options, depth - 1);
    }
    if (depth == MAP_DEPTH) {
        int64_t right;
        MANTA_TRY(count_squares(square_map(&options, MAP_ELEMENTS), MAP_ELEMENTS, &right));
        MANTA_TRY(right == MAP_ELEMENTS ? MANTA_OK : 1);
    }
    *leaves = 0;
    for (int i = 0; i < FAN_OUT; i++) {
        int64_t part;
        MANTA_TRY(tree_get(children[i], &part));
        *leaves += part;
    }
    return MANTA_OK;
}

MANTA_TASK(next, in(int64_t, x), out(int64_t, y))
{
    usleep(LEAF_US / 5);
    *y = *x + 1;
    return MANTA_OK;
}

MANTA_TASK(zero, out(int64_t, y))
{
    *y = 0;
    return MANTA_OK;
}

static int check(const char *what, int64_t got, int64_t expected)
{
    if (got != expected) {
        fprintf(stderr, "%s: %lld, not %lld\n", what, (long long)got, (long long)expected);
    }
    return got == expected ? MANTA_OK : 1;
}

static int check_squares(manta_ref map)
{
    int64_t right;
    MANTA_TRY(count_squares(map, ELEMENTS, &right));
    return check("map", right, ELEMENTS);
}

static int one_round(void)
{
    int64_t leaves, end, expected = 1;
    MANTA_TRY(manta_scope_begin());
    manta_ref top = tree_async(&options, DEPTH);
    manta_ref map = square_map(&options, ELEMENTS);
    manta_ref link = zero_async(&options);
    for (int i = 0; i < LINKS; i++) {
        link = next_async(&options, link);
        expected *= i < DEPTH ? FAN_OUT : 1;
    }
    MANTA_TRY(tree_get(top, &leaves));
    MANTA_TRY(check("tree", leaves, expected));
    MANTA_TRY(check_squares(map));
    MANTA_TRY(next_get(link, &end));
    MANTA_TRY(check("chain", end, LINKS));
    return manta_scope_end();
}

static int driver(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    puts("running");
    fflush(stdout);
    for (int i = 0; i < rounds; i++) {
        int code = one_round();
        if (code != MANTA_OK) {
            fprintf(stderr, "round %d: %s\n", i, manta_last_error()->text);
            return code < 0 ? 1 : code;
        }
    }
    puts("right");
    return fflush(stdout);
}

static int stop_slowly(void *arg)
{
    return usleep(*(useconds_t *)arg * 1000);
}

int main(int argc, char **argv)
{
    static useconds_t stop_ms;
    options.retries = argc > 2 ? atoi(argv[2]) : 0;
    stop_ms = argc > 3 ? (useconds_t)atoi(argv[3]) : 0;
    MANTA_TRY(manta_hook(MANTA_AT_STOP, stop_slowly, &stop_ms));
    return manta_run(argc, argv, driver);
}
