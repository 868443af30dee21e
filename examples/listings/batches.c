/*
 * Many tiny tasks, the anti-pattern of other systems, beside the same work in batches:
 * a million additions as a million tasks and as a thousand tasks of a thousand. Both
 * give the same list. `batches 100000` does fewer.
 */
#include "clock.h"

#include <inttypes.h>
#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1000 };

MANTA_TASK(add, val(int64_t, a), val(int64_t, b), out(int64_t, sum))
{
    *sum = a + b;
    return MANTA_OK;
}

MANTA_TASK(add_batch, span(int64_t, a), span(int64_t, b), outv(int64_t, sums))
{
    int64_t *all = manta_outv_alloc(sums, a_len);
    if (!all) {
        return MANTA_E_TOOBIG;
    }
    for (size_t i = 0; i < a_len; i++) {
        all[i] = a[i] + b[i];
    }
    return MANTA_OK;
}

/* The numbers to add, and room for the sums and the refs. */
struct work {
    size_t count;
    int64_t *a, *b, *sums;
    manta_ref *refs;
};

static int run_single(struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        work->refs[i] = add_async(NULL, work->a[i], work->b[i]);
    }
    int rc = MANTA_OK;
    for (size_t i = 0; i < work->count && rc == MANTA_OK; i++) {
        rc = add_get(work->refs[i], &work->sums[i]);
    }
    return rc;
}

static int run_batches(struct work *work)
{
    for (size_t i = 0; i < work->count; i += BATCH) {
        work->refs[i / BATCH] = add_batch_async(NULL, &work->a[i], BATCH, &work->b[i], BATCH);
    }
    int rc = MANTA_OK;
    for (size_t i = 0; i < work->count && rc == MANTA_OK; i += BATCH) {
        rc = manta_get(work->refs[i / BATCH], &work->sums[i], BATCH * sizeof *work->sums);
    }
    return rc;
}

/* Runs one form with its refs in a scope of their own, and prints its rate. */
static int measure(const char *what, size_t tasks, int (*run)(struct work *), struct work *work)
{
    int rc = manta_scope_begin();
    if (rc != MANTA_OK) {
        return rc;
    }
    double start = seconds();
    rc = run(work);
    double taken = seconds() - start;
    (void)manta_scope_end();
    if (rc == MANTA_OK) {
        printf("%s: %zu tasks in %.3f s, %.0f tasks/s, %.0f additions/s\n", what, tasks, taken,
               (double)tasks / taken, (double)work->count / taken);
    }
    return rc;
}

static int compare(struct work *work)
{
    size_t bytes = work->count * sizeof *work->sums;
    int64_t *expected = malloc(bytes);
    int rc = expected ? measure("single ", work->count, run_single, work) : MANTA_E_NOMEM;
    if (rc == MANTA_OK) {
        memcpy(expected, work->sums, bytes);
        memset(work->sums, 0, bytes);
        rc = measure("batches", work->count / BATCH, run_batches, work);
    }
    if (rc == MANTA_OK) {
        int same = memcmp(expected, work->sums, bytes) == 0;
        printf("same list: %s, last sum %" PRId64 "\n", same ? "yes" : "no",
               work->sums[work->count - 1]);
        rc = !same;
    }
    free(expected);
    return rc;
}

static int driver(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) / BATCH * BATCH : (size_t)1000 * BATCH;
    if (count == 0) {
        fprintf(stderr, "usage: batches [COUNT]: at least %d\n", BATCH);
        return 2;
    }
    struct work work = {.count = count,
                        .a = malloc(count * sizeof(int64_t)),
                        .b = malloc(count * sizeof(int64_t)),
                        .sums = malloc(count * sizeof(int64_t)),
                        .refs = malloc(count * sizeof(manta_ref))};
    int rc = MANTA_E_NOMEM;
    if (work.a && work.b && work.sums && work.refs) {
        for (size_t i = 0; i < count; i++) {
            work.a[i] = (int64_t)i;
            work.b[i] = 2 * (int64_t)i;
        }
        rc = compare(&work);
    }
    free(work.a);
    free(work.b);
    free(work.sums);
    free(work.refs);
    return rc;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
