/*
 * An external sort: more 64-bit keys than the store holds, as a sample sort.
 *
 *     sort [MIB [CHUNK_MIB]]       mpirun -n 4 sort 1024
 *
 * make     random keys by chunks, unevenly spread, and a few samples of each chunk
 * split    a chunk is sorted and cut at the splitters, which the samples gave, into parts
 * merge    the parts of one range, of all chunks, become one sorted array
 * check    each array is in order and within its range; count and sum are those of the keys made
 *
 * At any time the store has to hold what the running tasks read and write, no more: with
 * MANTA_STORE well below the size of the data the rest is on disk. Prints one line of results, the
 * same on any number of ranks; the speed of each stage goes to standard error.
 */
#include "clock.h"

#include <inttypes.h>
#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 64, RANGES_MAX = 1024 };
#define MIB ((uint64_t)1 << 20)

struct summary {
    uint64_t count, sum, first, last;
};

static void add_to(struct summary *all, const struct summary *one)
{
    all->count += one->count;
    all->sum += one->sum;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* ---- Tasks ---------------------------------------------------------------------------------- */

MANTA_TASK(make, val(uint64_t, chunk), val(uint64_t, count), outv(uint64_t, keys),
           outv(uint64_t, samples), out(struct summary, made))
{
    manta_rng rng = manta_rng_stream(2026, chunk);
    uint64_t *key = manta_outv_alloc(keys, count);
    uint64_t *sample = manta_outv_alloc(samples, SAMPLES);
    if (!key || !sample) {
        return manta_last_error()->code;
    }
    *made = (struct summary){.count = count};
    for (uint64_t i = 0; i < count; i++) {
        double x = manta_rng_uniform(&rng);
        key[i] = (uint64_t)(x * x * 9e18);
        made->sum += key[i];
    }
    for (uint64_t i = 0; i < SAMPLES; i++) {
        sample[i] = key[i * count / SAMPLES];
    }
    return MANTA_OK;
}

static uint64_t lower_bound(const uint64_t *keys, uint64_t count, uint64_t key)
{
    uint64_t low = 0;
    while (low < count) {
        uint64_t middle = low + (count - low) / 2;
        if (keys[middle] < key) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return low;
}

/* inout: the chunk is sorted where it is. */
MANTA_TASK(sort_chunk, inout(uint64_t, keys))
{
    qsort(keys, keys_len, sizeof *keys, by_key);
    return MANTA_OK;
}

MANTA_TASK(split, in(uint64_t, keys), span(uint64_t, splitters), outrefs(parts))
{
    manta_ref *part = manta_outv_alloc(parts, splitters_len + 1);
    uint64_t from = 0;
    if (!part) {
        return manta_last_error()->code;
    }
    for (size_t i = 0; i <= splitters_len; i++) {
        uint64_t to = i < splitters_len ? lower_bound(keys, keys_len, splitters[i]) : keys_len;
        part[i] = manta_put(keys + from, (to - from) * sizeof *keys);
        from = to;
    }
    return MANTA_OK;
}

struct source {
    const uint64_t *next, *end;
};

static void sift_down(struct source *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && *heap[child + 1].next < *heap[child].next;
        if (*heap[at].next <= *heap[child].next) {
            return;
        }
        struct source moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

static void merge_into(uint64_t *out, struct source *heap, size_t count)
{
    for (size_t at = count; at--;) {
        sift_down(heap, count, at);
    }
    while (count) {
        *out++ = *heap[0].next++;
        if (heap[0].next == heap[0].end) {
            heap[0] = heap[--count];
        }
        sift_down(heap, count, 0);
    }
}

static int open_parts(const manta_ref *parts, size_t count, struct source *heap, size_t *ret_live,
                      uint64_t *ret_keys)
{
    *ret_live = *ret_keys = 0;
    for (size_t i = 0; i < count; i++) {
        const void *data;
        size_t bytes;
        MANTA_TRY(manta_view(parts[i], &data, &bytes));
        if (bytes) {
            const uint64_t *keys = data;
            heap[(*ret_live)++] = (struct source){keys, keys + bytes / sizeof *keys};
            *ret_keys += bytes / sizeof *keys;
        }
    }
    return MANTA_OK;
}

MANTA_TASK(merge, refs(parts), outv(uint64_t, sorted))
{
    struct source *heap = malloc((parts_len + 1) * sizeof *heap);
    size_t live;
    uint64_t count;
    int code = heap ? open_parts(parts, parts_len, heap, &live, &count) : MANTA_E_NOMEM;
    uint64_t *out = code == MANTA_OK ? manta_outv_alloc(sorted, count) : NULL;
    if (out) {
        merge_into(out, heap, live);
    } else if (code == MANTA_OK) {
        code = manta_last_error()->code;
    }
    free(heap);
    return code;
}

MANTA_TASK(check, in(uint64_t, keys), out(struct summary, found))
{
    *found = (struct summary){.count = keys_len};
    for (size_t i = 0; i < keys_len; i++) {
        if (i && keys[i - 1] > keys[i]) {
            return manta_fail(1, "key %zu is greater than the one behind it", i - 1);
        }
        found->sum += keys[i];
    }
    if (keys_len) {
        found->first = keys[0];
        found->last = keys[keys_len - 1];
    }
    return MANTA_OK;
}

/* ---- The sort ------------------------------------------------------------------------------- */

struct sort {
    uint64_t chunks, keys_each, ranges;
    struct make_refs *made;
    manta_ref *chunk;  /* made, then sorted */
    manta_ref *parts;  /* by range, then by chunk */
    manta_ref *sorted; /* by range */
    uint64_t splitters[RANGES_MAX];
    struct summary all;
    double stage_began;
};

static void tell(struct sort *sort, const char *stage)
{
    double mib = (double)(sort->chunks * sort->keys_each * 8) / (double)MIB;
    double took = seconds() - sort->stage_began;
    fprintf(stderr, "%-6s %8.0f MiB in %6.2f s, %7.1f MiB/s\n", stage, mib, took, mib / took);
    sort->stage_began = seconds();
}

static int make_chunks(struct sort *sort)
{
    for (uint64_t i = 0; i < sort->chunks; i++) {
        sort->made[i] = make_async(NULL, i, sort->keys_each);
        sort->chunk[i] = sort->made[i].keys;
    }
    for (uint64_t i = 0; i < sort->chunks; i++) {
        struct summary made;
        MANTA_TRY(manta_get(sort->made[i].made, &made, sizeof made));
        add_to(&sort->all, &made);
    }
    return MANTA_OK;
}

static int find_splitters(struct sort *sort)
{
    uint64_t count = 0, *samples = malloc(sort->chunks * SAMPLES * sizeof *samples);
    int code = samples ? MANTA_OK : MANTA_E_NOMEM;
    for (uint64_t i = 0; i < sort->chunks && code == MANTA_OK; i++, count += SAMPLES) {
        code = manta_get(sort->made[i].samples, samples + count, SAMPLES * sizeof *samples);
    }
    if (code == MANTA_OK) {
        qsort(samples, count, sizeof *samples, by_key);
        for (uint64_t i = 1; i < sort->ranges; i++) {
            sort->splitters[i - 1] = samples[i * count / sort->ranges];
        }
    }
    free(samples);
    return code;
}

static int split_chunks(struct sort *sort)
{
    manta_ref *split_refs = malloc(sort->chunks * sizeof *split_refs);
    int code = split_refs ? MANTA_OK : MANTA_E_NOMEM;
    for (uint64_t i = 0; i < sort->chunks && code == MANTA_OK; i++) {
        sort->chunk[i] = sort_chunk_async(NULL, sort->chunk[i]);
        split_refs[i] = split_async(NULL, sort->chunk[i], sort->splitters, sort->ranges - 1);
        code = manta_drop(sort->chunk[i]);
    }
    for (uint64_t i = 0; i < sort->chunks && code == MANTA_OK; i++) {
        const manta_ref *parts;
        size_t count;
        code = split_get(split_refs[i], &parts, &count);
        for (uint64_t range = 0; range < sort->ranges && code == MANTA_OK; range++) {
            sort->parts[range * sort->chunks + i] = parts[range];
        }
        code = code ? code : manta_drop(split_refs[i]);
    }
    free(split_refs);
    return code;
}

static int merge_ranges(struct sort *sort)
{
    for (uint64_t range = 0; range < sort->ranges; range++) {
        manta_ref *parts = sort->parts + range * sort->chunks;
        sort->sorted[range] = merge_async(NULL, parts, sort->chunks);
        for (uint64_t i = 0; i < sort->chunks; i++) {
            MANTA_TRY(manta_drop(parts[i]));
        }
    }
    return manta_wait(sort->sorted, sort->ranges, sort->ranges, MANTA_FOREVER, NULL);
}

static int check_ranges(struct sort *sort)
{
    struct summary found = {0};
    uint64_t last = 0;
    for (uint64_t range = 0; range < sort->ranges; range++) {
        struct summary one;
        MANTA_TRY(check_get(check_async(NULL, sort->sorted[range]), &one));
        if (one.count && one.first < last) {
            fprintf(stderr, "range %" PRIu64 " begins below the end of the one before\n", range);
            return 1;
        }
        last = one.count ? one.last : last;
        add_to(&found, &one);
    }
    if (found.count != sort->all.count || found.sum != sort->all.sum) {
        fprintf(stderr, "keys were lost or changed on the way\n");
        return 1;
    }
    return MANTA_OK;
}

static int run_stages(struct sort *sort)
{
    sort->stage_began = seconds();
    MANTA_TRY(make_chunks(sort));
    tell(sort, "make");
    MANTA_TRY(find_splitters(sort));
    MANTA_TRY(split_chunks(sort));
    tell(sort, "split");
    MANTA_TRY(merge_ranges(sort));
    tell(sort, "merge");
    MANTA_TRY(check_ranges(sort));
    tell(sort, "check");
    printf("%" PRIu64 " keys in %" PRIu64 " ranges are in order, their sum is %" PRIu64 "\n",
           sort->all.count, sort->ranges, sort->all.sum);
    return MANTA_OK;
}

/* A number from 1 to `most`; 0 for anything else. */
static uint64_t number(const char *text, uint64_t most)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    return *text >= '1' && *text <= '9' && !*end && value <= most ? value : 0;
}

static int driver(int argc, char **argv)
{
    uint64_t mib = argc > 1 ? number(argv[1], 1 << 20) : 64;
    uint64_t chunk_mib = argc > 2 ? number(argv[2], 1024) : 4;
    if (argc > 3 || !mib || !chunk_mib || mib % chunk_mib || mib / chunk_mib > RANGES_MAX) {
        fprintf(stderr,
                "usage: sort [MIB [CHUNK_MIB]]: MIB (64) is a multiple of CHUNK_MIB (4), and at "
                "most %d times as much\n",
                RANGES_MAX);
        return 2;
    }
    struct sort sort = {.chunks = mib / chunk_mib, .keys_each = chunk_mib * MIB / 8};
    sort.ranges = sort.chunks;
    sort.made = calloc(sort.chunks, sizeof *sort.made);
    sort.chunk = calloc(sort.chunks, sizeof *sort.chunk);
    sort.parts = calloc(sort.chunks * sort.ranges, sizeof *sort.parts);
    sort.sorted = calloc(sort.ranges, sizeof *sort.sorted);
    int code = MANTA_E_NOMEM;
    if (sort.made && sort.chunk && sort.parts && sort.sorted) {
        code = run_stages(&sort);
    }
    free(sort.made);
    free(sort.chunk);
    free(sort.parts);
    free(sort.sorted);
    return code;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
