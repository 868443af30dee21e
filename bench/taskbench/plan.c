/*
 * Plans. A row is told from another by its own extent, those of its neighbours, and the
 * dependence sets of its own and of the next step. What repeats does so after as many steps as
 * there are sets, so that only the row that many steps back is looked at. To free each row once,
 * the plan sorts them first.
 */
#include "core.h"

#include <stdlib.h>

static bool is_same_extent(const struct tb_graph *graph, int64_t a, int64_t b)
{
    return tb_row_offset(graph, a) == tb_row_offset(graph, b) &&
           tb_row_width(graph, a) == tb_row_width(graph, b);
}

static bool is_repeated(const struct tb_graph *graph, uint32_t step)
{
    int64_t before = (int64_t)step - tb_dependence_sets(graph);
    return before >= 0 && is_same_extent(graph, before - 1, (int64_t)step - 1) &&
           is_same_extent(graph, before, step) &&
           is_same_extent(graph, before + 1, (int64_t)step + 1);
}

typedef void (*side)(const struct tb_graph *, uint32_t, uint32_t, struct tb_intervals *);

static int list_side(const struct tb_graph *graph, uint32_t step, const struct tb_row *row, side of,
                     uint32_t **ret_at, uint32_t **ret_points)
{
    struct tb_intervals intervals;
    uint32_t *at = calloc(row->width + 1, sizeof *at);
    for (uint32_t i = 0; at && i < row->width; i++) {
        of(graph, step, row->offset + i, &intervals);
        at[i + 1] = at[i] + tb_count(&intervals);
    }
    uint32_t *points = at ? calloc(at[row->width] + 1, sizeof *points) : NULL;
    for (uint32_t i = 0; points && i < row->width; i++) {
        of(graph, step, row->offset + i, &intervals);
        tb_list(&intervals, points + at[i]);
    }
    *ret_at = at;
    *ret_points = points;
    return points ? 0 : -1;
}

static void free_row(struct tb_row *row)
{
    if (row) {
        free(row->input_at);
        free(row->inputs);
        free(row->consumer_at);
        free(row->consumers);
        free(row);
    }
}

static struct tb_row *make_row(const struct tb_graph *graph, uint32_t step)
{
    struct tb_row *row = calloc(1, sizeof *row);
    if (!row) {
        return NULL;
    }
    row->offset = tb_row_offset(graph, step);
    row->width = tb_row_width(graph, step);
    if (list_side(graph, step, row, tb_inputs, &row->input_at, &row->inputs) != 0 ||
        list_side(graph, step, row, tb_consumers, &row->consumer_at, &row->consumers) != 0) {
        free_row(row);
        return NULL;
    }
    return row;
}

int tb_plan_make(const struct tb_graph *graph, struct tb_plan *ret_plan)
{
    struct tb_plan plan = {0, calloc(graph->steps, sizeof(struct tb_row *))};
    uint32_t sets = tb_dependence_sets(graph);
    for (uint32_t step = 0; plan.rows && step < graph->steps; step++) {
        struct tb_row *row =
            is_repeated(graph, step) ? plan.rows[step - sets] : make_row(graph, step);
        if (!row) {
            tb_plan_free(&plan);
            return -1;
        }
        plan.rows[plan.steps++] = row;
    }
    *ret_plan = plan;
    return plan.rows ? 0 : -1;
}

static int compare(const void *a, const void *b)
{
    const struct tb_row *x = *(struct tb_row *const *)a, *y = *(struct tb_row *const *)b;
    return (x > y) - (x < y);
}

void tb_plan_free(struct tb_plan *plan)
{
    if (plan->steps) {
        qsort(plan->rows, plan->steps, sizeof(struct tb_row *), compare);
    }
    for (uint32_t step = 0; step < plan->steps; step++) {
        if (step + 1 == plan->steps || plan->rows[step] != plan->rows[step + 1]) {
            free_row(plan->rows[step]);
        }
    }
    free(plan->rows);
    *plan = (struct tb_plan){0};
}
