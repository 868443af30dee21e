/*
 * Who depends on whom, both ways, in closed form.
 *
 * Each pattern is a list of offers: candidates from the row before, by a formula in the point and
 * the dependence set. An offer outside of the row is not an input. The formulas of `consumers`
 * are those of `inputs` solved for the other side; a test holds the two against each other for
 * all points of many shapes. Offers may come in any order and twice (a narrow row wraps around):
 * they are sorted and joined to intervals at the end.
 *
 * tree grows to its width by doubling; dom (discrete ordinates: a sweep) is a diamond that moves
 * from the first column to the last. All other rows are whole.
 */
#include "core.h"

#include <Random123/philox.h>
#include <stdlib.h>

/* Candidates of one side of one point. */
struct offers {
    uint32_t count;
    int64_t first, last; /* of the row that they lie in */
    struct tb_interval at[TB_RADIX_MAX];
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

uint32_t tb_row_offset(const struct tb_graph *graph, int64_t step)
{
    if (graph->pattern != TB_DOM) {
        return 0;
    }
    int64_t last = most(0, least(step, (int64_t)graph->steps - 1));
    return (uint32_t)most(0, last + graph->width - (int64_t)graph->steps);
}

uint32_t tb_row_width(const struct tb_graph *graph, int64_t step)
{
    if (step < 0 || step >= graph->steps) {
        return 0;
    }
    if (graph->pattern == TB_DOM) {
        return (uint32_t)most(0, least(graph->width, step + 1) - tb_row_offset(graph, step));
    }
    if (graph->pattern == TB_TREE && step < 32) {
        return (uint32_t)least(graph->width, (int64_t)1 << step);
    }
    return graph->width;
}

/* Of fft: powers of two below the width. */
static uint32_t levels(const struct tb_graph *graph)
{
    uint32_t count = 0;
    while ((uint64_t)1 << count < graph->width) {
        count++;
    }
    return count ? count : 1;
}

uint32_t tb_dependence_sets(const struct tb_graph *graph)
{
    switch (graph->pattern) {
    case TB_FFT:
        return levels(graph);
    case TB_SPREAD:
    case TB_RANDOM_NEAREST:
        return graph->period;
    default:
        return 1;
    }
}

uint32_t tb_dependence_set(const struct tb_graph *graph, uint32_t step)
{
    uint32_t sets = tb_dependence_sets(graph);
    return (step + sets - 1) % sets;
}

static void offer(struct offers *offers, int64_t first, int64_t last)
{
    first = most(first, offers->first);
    last = least(last, offers->last);
    if (first <= last) {
        offers->at[offers->count++] = (struct tb_interval){(uint32_t)first, (uint32_t)last};
    }
}

static int64_t wrap(int64_t point, int64_t width)
{
    return (point % width + width) % width;
}

/* Whether the neighbour `from` is an input of `to`: the same draw from both sides. */
static bool is_drawn(const struct tb_graph *graph, uint32_t set, int64_t from, int64_t to)
{
    philox4x32_ctr_t counter = {{(uint32_t)from, (uint32_t)to, set, graph->index}};
    philox4x32_key_t key = {{0x6d616e74, 0x61}};
    return philox4x32(counter, key).v[0] * 0x1p-32 < graph->fraction;
}

/* Nearest has radix neighbours, of which an even radix has one more below. */
static int64_t below(const struct tb_graph *graph)
{
    return graph->radix / 2;
}

static int64_t above(const struct tb_graph *graph)
{
    return ((int64_t)graph->radix - 1) / 2 - !graph->radix;
}

static void offer_random(const struct tb_graph *graph, uint32_t set, int64_t point, bool is_input,
                         struct offers *offers)
{
    int64_t first = point - (is_input ? below(graph) : above(graph));
    int64_t last = point + (is_input ? above(graph) : below(graph));
    for (int64_t other = first; graph->radix && other <= last; other++) {
        if (is_input ? is_drawn(graph, set, other, point) : is_drawn(graph, set, point, other)) {
            offer(offers, other, other);
        }
    }
}

/* radix points, evenly spread; all but the first move with the set. */
static void offer_spread(const struct tb_graph *graph, uint32_t set, int64_t point, bool is_input,
                         struct offers *offers)
{
    for (int64_t i = 0; i < graph->radix; i++) {
        int64_t away = i * graph->width / graph->radix + (i ? (int64_t)set : 0);
        int64_t other = wrap(is_input ? point + away : point - away, graph->width);
        offer(offers, other, other);
    }
}

static void offer_periodic(const struct tb_graph *graph, int64_t point, struct offers *offers)
{
    for (int64_t away = -1; away <= 1; away++) {
        int64_t other = wrap(point + away, graph->width);
        offer(offers, other, other);
    }
}

static void offer_inputs(const struct tb_graph *graph, uint32_t set, int64_t point,
                         struct offers *offers)
{
    switch (graph->pattern) {
    case TB_NO_COMM:
        return offer(offers, point, point);
    case TB_STENCIL_1D:
        return offer(offers, point - 1, point + 1);
    case TB_STENCIL_1D_PERIODIC:
        return offer_periodic(graph, point, offers);
    case TB_DOM:
        return offer(offers, point - 1, point);
    case TB_TREE:
        return offer(offers, point / 2, point / 2);
    case TB_FFT:
        offer(offers, point - ((int64_t)1 << set), point - ((int64_t)1 << set));
        offer(offers, point, point);
        return offer(offers, point + ((int64_t)1 << set), point + ((int64_t)1 << set));
    case TB_ALL_TO_ALL:
        return offer(offers, 0, graph->width - 1);
    case TB_NEAREST:
        return offer(offers, point - below(graph), point + above(graph));
    case TB_SPREAD:
        return offer_spread(graph, set, point, true, offers);
    case TB_RANDOM_NEAREST:
        return offer_random(graph, set, point, true, offers);
    default:
        return;
    }
}

static void offer_consumers(const struct tb_graph *graph, uint32_t set, int64_t point,
                            struct offers *offers)
{
    switch (graph->pattern) {
    case TB_DOM:
        return offer(offers, point, point + 1);
    case TB_TREE:
        return offer(offers, 2 * point, 2 * point + 1);
    case TB_NEAREST:
        return offer(offers, point - above(graph), point + below(graph));
    case TB_SPREAD:
        return offer_spread(graph, set, point, false, offers);
    case TB_RANDOM_NEAREST:
        return offer_random(graph, set, point, false, offers);
    default:
        return offer_inputs(graph, set, point, offers); /* these are their own inverse */
    }
}

static int compare(const void *a, const void *b)
{
    const struct tb_interval *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorts, and joins what touches or overlaps. */
static void settle(struct offers *offers, struct tb_intervals *ret)
{
    ret->count = 0;
    if (offers->count > 1) {
        qsort(offers->at, offers->count, sizeof *offers->at, compare);
    }
    for (uint32_t i = 0; i < offers->count; i++) {
        struct tb_interval *end = ret->count ? &ret->at[ret->count - 1] : NULL;
        if (end && offers->at[i].first <= end->last + 1) {
            end->last = (uint32_t)most(end->last, offers->at[i].last);
        } else {
            ret->at[ret->count++] = offers->at[i];
        }
    }
}

static struct offers into_row(const struct tb_graph *graph, int64_t step)
{
    struct offers offers;
    offers.count = 0;
    offers.first = tb_row_offset(graph, step);
    offers.last = offers.first + tb_row_width(graph, step) - 1;
    return offers;
}

void tb_inputs(const struct tb_graph *graph, uint32_t step, uint32_t point,
               struct tb_intervals *ret_inputs)
{
    struct offers offers = into_row(graph, (int64_t)step - 1);
    offer_inputs(graph, tb_dependence_set(graph, step), point, &offers);
    settle(&offers, ret_inputs);
}

void tb_consumers(const struct tb_graph *graph, uint32_t step, uint32_t point,
                  struct tb_intervals *ret_consumers)
{
    struct offers offers = into_row(graph, (int64_t)step + 1);
    offer_consumers(graph, tb_dependence_set(graph, step + 1), point, &offers);
    settle(&offers, ret_consumers);
}

uint32_t tb_count(const struct tb_intervals *intervals)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < intervals->count; i++) {
        count += intervals->at[i].last - intervals->at[i].first + 1;
    }
    return count;
}

void tb_list(const struct tb_intervals *intervals, uint32_t *ret_points)
{
    for (uint32_t i = 0; i < intervals->count; i++) {
        for (uint32_t point = intervals->at[i].first; point <= intervals->at[i].last; point++) {
            *ret_points++ = point;
        }
    }
}
