/*
 * What every benchmark here shares: points, medians, ratios, a table and JSON.
 *
 * Shared machines wander, so nothing is a single number. A series has one point per
 * repetition; the program takes point i of everything it compares (its own, the raw
 * limit, the peer) right after one another, so that a ratio is the median of ratios of
 * neighbours in time. Every row shows its spread: min and quartiles.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_POINTS_MAX 128

struct bench_series {
    double points[BENCH_POINTS_MAX];
    uint32_t count;
};

struct bench_summary {
    double min, q1, median, q3;
};

enum bench_goal { BENCH_NO_GOAL, BENCH_RATIO_AT_MOST, BENCH_AT_MOST, BENCH_AT_LEAST };

/* One line of the table. */
struct bench_row {
    const char *metric;
    const char *unit;
    const struct bench_series *series;
    const char *peer_name; /* what the ratio is to; NULL: none */
    const struct bench_series *peer;
    enum bench_goal goal_kind;
    double goal;
};

/* One program's run: its options, its table, its JSON file. */
struct bench {
    const char *program;
    FILE *json; /* NULL: none was asked for */
    uint32_t points;
    bool is_quick;
    bool has_entries; /* in the JSON list */
};

/* Options: --quick, --points N, --json FILE. 0, or 1 after telling what is wrong with them. */
int bench_open(struct bench *bench, const char *program, int argc, char **argv);
/* A fact about the run, not a measurement. */
void bench_note(struct bench *bench, const char *name, const char *value);
void bench_print(struct bench *bench, const struct bench_row *row);
int bench_close(struct bench *bench);

void bench_add(struct bench_series *series, double point);
struct bench_summary bench_summarise(const struct bench_series *series);
/* The median of the ratios of points of the same number. */
double bench_ratio(const struct bench_series *series, const struct bench_series *peer);

uint64_t bench_now_ns(void);

#endif
