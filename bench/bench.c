#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POINTS_DEFAULT = 21, POINTS_QUICK = 7 };

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_add(struct bench_series *series, double point)
{
    if (series->count < BENCH_POINTS_MAX) {
        series->points[series->count++] = point;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear between neighbours. `sorted` has at least one point. */
static double quantile(const double *sorted, uint32_t count, double part)
{
    double at = part * (count - 1);
    uint32_t below = (uint32_t)at, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

struct bench_summary bench_summarise(const struct bench_series *series)
{
    double sorted[BENCH_POINTS_MAX];
    uint32_t count = series->count;
    if (count == 0) {
        return (struct bench_summary){0};
    }
    memcpy(sorted, series->points, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    return (struct bench_summary){sorted[0], quantile(sorted, count, 0.25),
                                  quantile(sorted, count, 0.5), quantile(sorted, count, 0.75)};
}

double bench_ratio(const struct bench_series *series, const struct bench_series *peer)
{
    struct bench_series ratios = {.count = 0};
    for (uint32_t i = 0; i < series->count && i < peer->count; i++) {
        bench_add(&ratios, series->points[i] / peer->points[i]);
    }
    return bench_summarise(&ratios).median;
}

static int read_options(struct bench *bench, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            bench->is_quick = true;
            bench->points = POINTS_QUICK;
        } else if (strcmp(argv[i], "--points") == 0 && value && atoi(value) > 0) {
            bench->points = (uint32_t)atoi(value);
            i++;
        } else if (strcmp(argv[i], "--json") == 0 && value) {
            bench->json = fopen(value, "w");
            if (!bench->json) {
                fprintf(stderr, "%s: cannot write %s\n", bench->program, value);
                return 1;
            }
            i++;
        } else {
            fprintf(stderr, "usage: %s [--quick] [--points N] [--json FILE]\n", argv[0]);
            return 1;
        }
    }
    bench->points = bench->points < BENCH_POINTS_MAX ? bench->points : BENCH_POINTS_MAX;
    return 0;
}

int bench_open(struct bench *bench, const char *program, int argc, char **argv)
{
    *bench = (struct bench){.program = program, .points = POINTS_DEFAULT};
    if (read_options(bench, argc, argv) != 0) {
        return 1;
    }
    printf("%-44s %14s %20s  %-26s %7s  %s\n", program, "median", "min / q1 / q3", "against",
           "ratio", "goal");
    if (bench->json) {
        fprintf(bench->json, "{\"program\": \"%s\", \"entries\": [", program);
    }
    return 0;
}

static void begin_entry(struct bench *bench)
{
    fprintf(bench->json, "%s\n  {", bench->has_entries ? "," : "");
    bench->has_entries = true;
}

void bench_note(struct bench *bench, const char *name, const char *value)
{
    printf("  %s: %s\n", name, value);
    if (bench->json) {
        begin_entry(bench);
        fprintf(bench->json, "\"note\": \"%s\", \"value\": \"%s\"}", name, value);
    }
}

static bool is_met(const struct bench_row *row, double median, double ratio)
{
    switch (row->goal_kind) {
    case BENCH_RATIO_AT_MOST:
        return ratio <= row->goal;
    case BENCH_AT_MOST:
        return median <= row->goal;
    case BENCH_AT_LEAST:
        return median >= row->goal;
    default:
        return true;
    }
}

static void describe_goal(const struct bench_row *row, char *words, size_t size)
{
    switch (row->goal_kind) {
    case BENCH_RATIO_AT_MOST:
        snprintf(words, size, "ratio <= %g", row->goal);
        break;
    case BENCH_AT_MOST:
        snprintf(words, size, "<= %g", row->goal);
        break;
    case BENCH_AT_LEAST:
        snprintf(words, size, ">= %g", row->goal);
        break;
    default:
        words[0] = 0;
    }
}

static void write_row(struct bench *bench, const struct bench_row *row,
                      const struct bench_summary *own, double ratio, const char *goal, bool met)
{
    begin_entry(bench);
    fprintf(
        bench->json,
        "\"metric\": \"%s\", \"unit\": \"%s\", \"points\": %u, \"median\": %.6g, \"min\": %.6g, "
        "\"q1\": %.6g, \"q3\": %.6g",
        row->metric, row->unit, row->series->count, own->median, own->min, own->q1, own->q3);
    if (row->peer) {
        fprintf(bench->json, ", \"peer\": \"%s\", \"peer_median\": %.6g, \"ratio\": %.4g",
                row->peer_name, bench_summarise(row->peer).median, ratio);
    }
    if (*goal) {
        fprintf(bench->json, ", \"goal\": \"%s\", \"met\": %s", goal, met ? "true" : "false");
    }
    fprintf(bench->json, "}");
}

void bench_print(struct bench *bench, const struct bench_row *row)
{
    struct bench_summary own = bench_summarise(row->series);
    double ratio = row->peer ? bench_ratio(row->series, row->peer) : 0;
    bool met = is_met(row, own.median, ratio);
    char goal[64], peer[64] = "", ratio_text[16] = "", spread[48];
    describe_goal(row, goal, sizeof goal);
    snprintf(spread, sizeof spread, "%.4g / %.4g / %.4g", own.min, own.q1, own.q3);
    if (row->peer) {
        snprintf(peer, sizeof peer, "%s %.4g", row->peer_name, bench_summarise(row->peer).median);
        snprintf(ratio_text, sizeof ratio_text, "%.2f", ratio);
    }
    printf("  %-42s %7.4g %-6s %20s  %-26s %7s  %s%s\n", row->metric, own.median, row->unit, spread,
           peer, ratio_text, goal,
           !*goal ? ""
           : met  ? ": met"
                  : ": NOT met");
    fflush(stdout);
    if (bench->json) {
        write_row(bench, row, &own, ratio, goal, met);
    }
}

int bench_close(struct bench *bench)
{
    int failed = 0;
    if (bench->json) {
        fprintf(bench->json, "\n]}\n");
        failed = fclose(bench->json) != 0;
        bench->json = NULL;
    }
    return failed;
}
