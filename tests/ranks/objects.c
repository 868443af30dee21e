/*
 * Large values between real ranks: each rank makes one and all read it, where it lies or, on
 * another host, from a copy; one is put, one is filled in place with its shape, one is changed, one
 * does not fit. Rank 0 prints "right".
 *
 *     objects          all of that
 *     objects stray    a task writes to what it may only read
 */
#include <manta/manta.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NUMBERS = 2000000 };

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

MANTA_TASK(sum, in(double, xs), out(double, s), out(uint32_t, rank))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    *rank = world.rank;
    for (size_t i = 0; i < xs_len; i++) {
        *s += xs[i];
    }
    return MANTA_OK;
}

MANTA_TASK(sum_four, in(double, a), in(double, b), in(double, c), in(double, d), out(double, s))
{
    for (size_t i = 0; i < a_len; i++) {
        *s += a[i] + 2 * b[i] + 3 * c[i] + 4 * d[i];
    }
    return a_len == b_len && a_len == c_len && a_len == d_len ? MANTA_OK : MANTA_E_TASK;
}

MANTA_TASK(twice, inout(double, xs))
{
    for (size_t i = 0; i < xs_len; i++) {
        xs[i] *= 2;
    }
    return MANTA_OK;
}

MANTA_TASK(write_to_input, in(double, xs))
{
    ((volatile double *)(uintptr_t)xs)[0] = 1;
    return MANTA_OK;
}

static int wrong(const char *what)
{
    printf("%s: %s\n", what, manta_last_error()->text);
    return 1;
}

static int check_reader(manta_ref xs, uint32_t reader, double expected)
{
    struct sum_refs refs = sum_async(MANTA_OPTIONS(.rank = MANTA_ON(reader)), xs);
    double s;
    uint32_t rank;
    int code = sum_get(refs, &s, &rank);
    manta_drop(refs.s);
    manta_drop(refs.rank);
    return code != MANTA_OK || s != expected || rank != reader ? wrong("a reader") : 0;
}

static int check_maker(uint32_t maker, uint32_t ranks)
{
    double expected = (double)NUMBERS * (NUMBERS - 1) / 2;
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(maker)), NUMBERS);
    const void *data;
    size_t bytes;
    for (uint32_t reader = 0; reader < ranks; reader++) {
        if (check_reader(xs, reader, expected)) {
            return 1;
        }
    }
    if (manta_view(xs, &data, &bytes) != MANTA_OK || bytes != NUMBERS * sizeof(double) ||
        ((const double *)data)[NUMBERS - 1] != NUMBERS - 1) {
        return wrong("a view");
    }
    (void)manta_unview(xs);
    manta_ref changed = twice_async(MANTA_OPTIONS(.rank = MANTA_ON((maker + 1) % ranks)), xs);
    int code = check_reader(changed, maker, 2 * expected);
    manta_drop(changed);
    return code;
}

static int check_put(uint32_t ranks)
{
    double *xs = calloc(NUMBERS, sizeof *xs);
    xs[NUMBERS / 2] = 17;
    manta_ref put = manta_put(xs, NUMBERS * sizeof *xs);
    free(xs);
    for (uint32_t reader = 0; reader < ranks; reader++) {
        if (check_reader(put, reader, 17)) {
            return 1;
        }
    }
    return manta_drop(put) == MANTA_OK ? 0 : wrong("a drop");
}

MANTA_TASK(last_of_rows, in(double, xs), out(double, last))
{
    manta_layout layout;
    MANTA_TRY(manta_layout_of(xs, &layout));
    if (layout.dims != 2 || layout.shape[1] != 10) {
        return manta_fail(MANTA_E_TYPE, "%u extents, the second %llu", layout.dims,
                          (unsigned long long)layout.shape[1]);
    }
    *last = xs[layout.shape[0] * 10 - 1];
    return MANTA_OK;
}

MANTA_TASK(read_as_floats, in(float, numbers), out(double, sum))
{
    *sum = numbers[0];
    return MANTA_OK;
}

/* Filled in place, read with its shape on every rank, and by nobody as something else. */
static int check_array(uint32_t ranks)
{
    manta_room room;
    double *xs = manta_put_alloc(double, &room, NUMBERS / 10, 10), last;
    if (!xs) {
        return wrong("a room");
    }
    memset(xs, 0, NUMBERS * sizeof *xs);
    xs[NUMBERS - 1] = 23;
    manta_ref array = manta_put_end(room);
    for (uint32_t reader = 0; reader < ranks; reader++) {
        const manta_options on = {.rank = MANTA_ON(reader)};
        if (last_of_rows_get(last_of_rows_async(&on, array), &last) != MANTA_OK || last != 23) {
            return wrong("a shape");
        }
        if (read_as_floats_get(read_as_floats_async(&on, array), &last) != MANTA_E_TYPE ||
            !strstr(manta_last_error()->text, "200000 x 10 float64")) {
            return wrong("another type");
        }
    }
    return manta_drop(array) == MANTA_OK ? 0 : wrong("a drop");
}

/* Arguments that are not in the store, each as large as it can be. */
static int check_together(uint32_t ranks)
{
    enum { MOST = MANTA_INLINE_MAX / sizeof(double) };
    static double xs[MOST];
    double s;
    for (size_t i = 0; i < MOST; i++) {
        xs[i] = (double)i;
    }
    manta_ref put = manta_put(xs, sizeof xs);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const manta_options on = {.rank = MANTA_ON(rank)};
        manta_ref made = make_async(&on, MOST);
        if (sum_four_get(sum_four_async(&on, put, made, made, put), &s) != MANTA_OK ||
            s != 5.0 * MOST * (MOST - 1)) {
            return wrong("four arguments");
        }
    }
    return 0;
}

/* A line for the one value there is, and who reads it. */
static int check_table(uint32_t ranks)
{
    char path[] = "/tmp/manta-objects-XXXXXX", line[1024], expected[64];
    int file = mkstemp(path), lines = 0, is_there = 0;
    const void *data;
    size_t bytes;
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(ranks - 1)), NUMBERS);
    if (file < 0 || close(file) || manta_view(xs, &data, &bytes) != MANTA_OK ||
        manta_store_dump(path) != MANTA_OK) {
        return wrong("a table");
    }
    snprintf(expected, sizeof expected, "%zu\tmemory\t%u\t0\t-\t", bytes, ranks - 1);
    FILE *in = fopen(path, "r");
    while (in && fgets(line, sizeof line, in)) {
        is_there |= strncmp(line, expected, strlen(expected)) == 0 && strstr(line, "\tmake\t");
        lines++;
    }
    if (!in || fclose(in) || unlink(path) || lines < 2 || !is_there || manta_drop(xs)) {
        return wrong("a line of the table");
    }
    return 0;
}

static int check_too_much(void)
{
    const double *data;
    size_t length;
    manta_ref over = make_async(NULL, (uint64_t)1 << 44);
    if (make_get(over, &data, &length) != MANTA_E_TOOBIG ||
        !strstr(manta_last_error()->text, "MANTA_STORE")) {
        return wrong("too much");
    }
    return 0;
}

static int driver(int argc, char **argv)
{
    manta_world world;
    if (manta_world_get(&world) != MANTA_OK) {
        return 1;
    }
    if (argc > 1) {
        manta_ref xs = make_async(NULL, NUMBERS);
        return write_to_input_get(write_to_input_async(NULL, xs)) == MANTA_OK;
    }
    for (uint32_t maker = 0; maker < world.size; maker++) {
        if (check_maker(maker, world.size)) {
            return 1;
        }
    }
    if (check_put(world.size) || check_array(world.size) || check_together(world.size) ||
        check_table(world.size) || check_too_much()) {
        return 1;
    }
    puts("right");
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
