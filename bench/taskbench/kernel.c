/*
 * What a point does, and the bytes that prove it was given the right inputs.
 *
 * compute_bound is 64 doubles, x = x * x + x, which stay in registers: 128 operations per
 * iteration, and the 64 of the sum at the end, which keeps the work from being optimised away. It
 * is compiled twice, for any x86-64 and for one with AVX2 and FMA, and chosen when it runs, so
 * that a driver in any language has the same kernel. load_imbalance is the same with a length
 * drawn for the point: from a counter-based generator (Random123), hence the same wherever and
 * whenever it is drawn. memory_bound copies one half of a part of its thread's scratch over the
 * other, part after part.
 *
 * An output is a row of pairs (step, point and graph). Checking reads every byte, in a loop that
 * the compiler turns into vector code; all drivers pay for it alike.
 */
#include "core.h"

#include <Random123/philox.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 64 };

struct pair {
    uint64_t step, point;
};

_Static_assert(sizeof(struct pair) == TB_PAIR_BYTES, "a pair is the least output");

/* ---- Kernels -------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) double compute(uint64_t iterations)
{
    double x[LANES], sum = 0;
    for (int i = 0; i < LANES; i++) {
        x[i] = 1.2345 - i * 0.03;
    }
    for (uint64_t k = 0; k < iterations; k++) {
        for (int i = 0; i < LANES; i++) {
            x[i] = x[i] * x[i] + x[i];
        }
    }
    for (int i = 0; i < LANES; i++) {
        sum += x[i];
    }
    return sum;
}

static __attribute__((noinline)) double compute_anywhere(uint64_t iterations)
{
    return compute(iterations);
}

#ifdef __x86_64__
static __attribute__((noinline, target("avx2,fma"))) double compute_fused(uint64_t iterations)
{
    return compute(iterations);
}
#endif

static void run_compute(uint64_t iterations)
{
    volatile double sink;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sink = compute_fused(iterations);
        (void)sink;
        return;
    }
#endif
    sink = compute_anywhere(iterations);
    (void)sink;
}

static void run_busy_wait(uint64_t iterations)
{
    uint64_t x = 113;
    for (uint64_t k = 0; k < iterations; k++) {
        x = x * 139 % 2147483647;
        __asm__ volatile("" : "+r"(x));
    }
}

/* ---- Scratch -------------------------------------------------------------------------------- */

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

struct scratch {
    uint64_t bytes;
    uint64_t at; /* the next part, so that parts come round */
    uint8_t memory[];
};

static void make_scratch_key(void)
{
    if (pthread_key_create(&scratch_key, free) != 0) {
        abort();
    }
}

/* This thread's, of at least so many bytes. NULL: no memory. */
static struct scratch *take_scratch(uint64_t bytes)
{
    pthread_once(&scratch_once, make_scratch_key);
    struct scratch *scratch = pthread_getspecific(scratch_key);
    if (scratch && scratch->bytes >= bytes) {
        return scratch;
    }
    free(scratch);
    scratch = malloc(sizeof *scratch + bytes);
    if (scratch) {
        scratch->bytes = bytes;
        scratch->at = 0;
        memset(scratch->memory, 1, bytes); /* pages are there before they are measured */
    }
    pthread_setspecific(scratch_key, scratch);
    return scratch;
}

static int run_memory(const struct tb_graph *graph)
{
    struct scratch *scratch = take_scratch(graph->scratch_bytes);
    if (!scratch) {
        return -1;
    }
    uint64_t part = graph->scratch_bytes / graph->samples, half = part / 2;
    for (uint64_t k = 0; k < graph->iterations; k++) {
        uint8_t *at = scratch->memory + scratch->at++ % graph->samples * part;
        memcpy(at, at + half, half);
        __asm__ volatile("" : : "r"(at) : "memory");
    }
    return 0;
}

int tb_kernel_run(const struct tb_graph *graph, uint32_t step, uint32_t point)
{
    switch (graph->kernel) {
    case TB_BUSY_WAIT:
        run_busy_wait(graph->iterations);
        return 0;
    case TB_COMPUTE_BOUND:
    case TB_LOAD_IMBALANCE:
        run_compute(tb_iterations(graph, step, point));
        return 0;
    case TB_MEMORY_BOUND:
        return run_memory(graph);
    default:
        return 0;
    }
}

uint64_t tb_iterations(const struct tb_graph *graph, uint32_t step, uint32_t point)
{
    if (graph->kernel != TB_LOAD_IMBALANCE) {
        return graph->iterations;
    }
    philox4x32_ctr_t counter = {{step, point, graph->index, 1}};
    philox4x32_key_t key = {{0x6d616e74, 0x61}};
    double drawn = philox4x32(counter, key).v[0] * 0x1p-32;
    double scaled = (double)graph->iterations * (1 + (drawn - 0.5) * graph->imbalance);
    return scaled > 0 ? (uint64_t)(scaled + 0.5) : 0;
}

uint64_t tb_flops(const struct tb_graph *graph, uint32_t step, uint32_t point)
{
    bool computes = graph->kernel == TB_COMPUTE_BOUND || graph->kernel == TB_LOAD_IMBALANCE;
    return computes ? 2 * LANES * tb_iterations(graph, step, point) + LANES : 0;
}

uint64_t tb_bytes(const struct tb_graph *graph, uint32_t step, uint32_t point)
{
    return graph->kernel == TB_MEMORY_BOUND
               ? graph->scratch_bytes / graph->samples * graph->iterations
               : 0;
}

/* ---- Payloads ------------------------------------------------------------------------------- */

static struct pair pair_of(const struct tb_graph *graph, uint32_t step, uint32_t point)
{
    return (struct pair){step, (uint64_t)graph->index << 32 | point};
}

void tb_write_output(const struct tb_graph *graph, uint32_t step, uint32_t point, void *output)
{
    struct pair pair = pair_of(graph, step, point);
    uint64_t count = graph->output_bytes / sizeof pair;
    for (uint64_t i = 0; i < count; i++) {
        memcpy((uint8_t *)output + i * sizeof pair, &pair, sizeof pair);
    }
    if (step == graph->plant_step && point == graph->plant_point) {
        ((uint8_t *)output)[graph->output_bytes - 1] ^= 1;
    }
}

/* One or more bits where a pair differs. */
static uint64_t differences(const void *input, uint64_t bytes, struct pair expected)
{
    uint64_t differ = 0;
    for (uint64_t at = 0; at < bytes; at += sizeof expected) {
        struct pair found;
        memcpy(&found, (const uint8_t *)input + at, sizeof found);
        differ |= (found.step ^ expected.step) | (found.point ^ expected.point);
    }
    return differ;
}

static int tell_wrong(const struct tb_graph *graph, uint32_t step, uint32_t point, uint32_t from,
                      const void *input, char why[TB_WHY_BYTES])
{
    struct pair found, expected = pair_of(graph, step - 1, from);
    memcpy(&found, input, sizeof found);
    for (uint64_t at = 0; at < graph->output_bytes; at += sizeof found) {
        memcpy(&found, (const uint8_t *)input + at, sizeof found);
        if (memcmp(&found, &expected, sizeof found) != 0) {
            break;
        }
    }
    snprintf(why, TB_WHY_BYTES,
             "graph %u, step %u, point %u: expected the output of step %u, point %u, found step "
             "%llu, point %llu of graph %llu",
             graph->index, step, point, step - 1, from, (unsigned long long)found.step,
             (unsigned long long)(uint32_t)found.point, (unsigned long long)(found.point >> 32));
    return -1;
}

int tb_check_inputs(const struct tb_graph *graph, uint32_t step, uint32_t point,
                    const void *const *inputs, uint32_t input_count, char why[TB_WHY_BYTES])
{
    struct tb_intervals wanted;
    tb_inputs(graph, step, point, &wanted);
    uint32_t at = 0, count = tb_count(&wanted);
    if (count != input_count) {
        snprintf(why, TB_WHY_BYTES, "graph %u, step %u, point %u: expected %u inputs, got %u",
                 graph->index, step, point, count, input_count);
        return -1;
    }
    for (uint32_t i = 0; i < wanted.count; i++) {
        for (uint32_t from = wanted.at[i].first; from <= wanted.at[i].last; from++, at++) {
            if (differences(inputs[at], graph->output_bytes, pair_of(graph, step - 1, from))) {
                return tell_wrong(graph, step, point, from, inputs[at], why);
            }
        }
    }
    return 0;
}

int tb_execute(const struct tb_graph *graph, uint32_t step, uint32_t point, void *output,
               const void *const *inputs, uint32_t input_count, char why[TB_WHY_BYTES])
{
    if (tb_check_inputs(graph, step, point, inputs, input_count, why) != 0) {
        return -1;
    }
    if (tb_kernel_run(graph, step, point) != 0) {
        snprintf(why, TB_WHY_BYTES, "no memory for %llu bytes of scratch",
                 (unsigned long long)graph->scratch_bytes);
        return -1;
    }
    tb_write_output(graph, step, point, output);
    return 0;
}
