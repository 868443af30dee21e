/*
 * Runs a program once per row of a CSV file, on all ranks, and gathers one table.
 *
 *     sweep [--limit SECONDS] [--retries N] POINTS.csv RESULTS.csv PROGRAM ARGUMENT...
 *
 * The first row of POINTS names the columns; {name} in an argument stands for the value of that
 * column. RESULTS gets a row as each point ends: the point's values, ok or failed, the seconds it
 * took, and the last line that the program wrote. Run again, it skips the points that RESULTS has
 * as ok, so a sweep that was cut off goes on where it was. Failures are listed at the end; the exit
 * code is 1 if there were any.
 */
#include "clock.h"
#include "csv.h"

#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 64, LINE_MAX_BYTES = 160 };

struct point {
    char *values[CSV_FIELDS_MAX];
    bool is_done; /* before this run */
};

struct sweep {
    const char *results_path, *const *program;
    manta_options options;
    char *names[CSV_FIELDS_MAX];
    size_t columns, count, done, failed;
    struct point *points;
    FILE *results;
};

/* ---- Files ----------------------------------------------------------------------------------- */

/* NULL: it cannot be read. Owned. */
static char *read_file(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0) {
        rewind(file);
        text = malloc((size_t)size + 1);
        *ret_bytes = text ? fread(text, 1, (size_t)size, file) : 0;
    }
    if (file) {
        fclose(file);
    }
    return text;
}

static int tell_mistakes(const char *path, const struct csv_errors *errors)
{
    for (size_t i = 0; i < errors->count && i < CSV_ERRORS_MAX; i++) {
        fprintf(stderr, "%s:%u:%u: %s\n", path, errors->list[i].line, errors->list[i].column,
                errors->list[i].text);
    }
    return errors->count ? MANTA_E_INVALID : MANTA_OK;
}

static bool add_point(struct sweep *sweep, const struct csv *csv)
{
    struct point *grown = realloc(sweep->points, (sweep->count + 1) * sizeof *grown);
    if (!grown) {
        return false;
    }
    sweep->points = grown;
    struct point *point = &grown[sweep->count++];
    memset(point, 0, sizeof *point);
    for (size_t i = 0; i < sweep->columns; i++) {
        point->values[i] = strdup(csv->fields[i].text);
    }
    return true;
}

static int read_points(struct sweep *sweep, const char *path)
{
    static struct csv csv;
    static struct csv_errors errors;
    size_t bytes;
    char *text = read_file(path, &bytes);
    if (!text) {
        fprintf(stderr, "cannot read %s\n", path);
        return MANTA_E_NOTFOUND;
    }
    csv_init(&csv, text, bytes);
    for (bool is_head = true; csv_next(&csv, &errors); is_head = false) {
        if (is_head) {
            sweep->columns = csv.count;
            for (size_t i = 0; i < csv.count; i++) {
                sweep->names[i] = strdup(csv.fields[i].text);
            }
        } else if (csv.count != sweep->columns) {
            csv_report(&errors, csv.fields[0].line, 1, "%zu values for %zu columns", csv.count,
                       sweep->columns);
        } else if (!add_point(sweep, &csv)) {
            return MANTA_E_NOMEM;
        }
    }
    free(text);
    return tell_mistakes(path, &errors);
}

/* A torn last line of a sweep that was cut off is no result. */
static void skip_done(struct sweep *sweep)
{
    static struct csv csv;
    static struct csv_errors errors;
    size_t bytes;
    char *text = read_file(sweep->results_path, &bytes);
    csv_init(&csv, text ? text : "", text ? bytes : 0);
    while (csv_next(&csv, &errors)) {
        if (csv.count != sweep->columns + 3 || strcmp(csv.fields[sweep->columns].text, "ok") != 0) {
            continue;
        }
        for (size_t i = 0; i < sweep->count; i++) {
            bool is_same = !sweep->points[i].is_done;
            for (size_t k = 0; k < sweep->columns && is_same; k++) {
                is_same = strcmp(csv.fields[k].text, sweep->points[i].values[k]) == 0;
            }
            if (is_same) {
                sweep->points[i].is_done = true;
                sweep->done++;
                break;
            }
        }
    }
    free(text);
}

static void write_field(FILE *file, const char *text, char end)
{
    bool is_plain = strpbrk(text, ",\"\r\n") == NULL;
    fputs(is_plain ? "" : "\"", file);
    for (; *text; text++) {
        if (*text == '"') {
            fputc('"', file);
        }
        fputc(*text, file);
    }
    fputs(is_plain ? "" : "\"", file);
    fputc(end, file);
}

static void write_row(FILE *file, char *const *values, size_t count, const char *const rest[3])
{
    for (size_t i = 0; i < count; i++) {
        write_field(file, values[i], ',');
    }
    for (int i = 0; i < 3; i++) {
        write_field(file, rest[i], i == 2 ? '\n' : ',');
    }
    fflush(file);
}

static int open_results(struct sweep *sweep)
{
    static const char *const names[3] = {"state", "seconds", "last_line"};
    sweep->results = fopen(sweep->results_path, "a");
    if (!sweep->results) {
        fprintf(stderr, "cannot write %s\n", sweep->results_path);
        return MANTA_E_SYSTEM;
    }
    if (ftell(sweep->results) == 0) {
        write_row(sweep->results, sweep->names, sweep->columns, names);
    } else {
        fputc('\n', sweep->results); /* behind a line that may be torn; blank lines are skipped */
    }
    return MANTA_OK;
}

/* ---- Points ---------------------------------------------------------------------------------- */

static const char *value_of(const struct sweep *sweep, const struct point *point, const char *name,
                            size_t length)
{
    for (size_t i = 0; i < sweep->columns; i++) {
        if (strlen(sweep->names[i]) == length && strncmp(sweep->names[i], name, length) == 0) {
            return point->values[i];
        }
    }
    return NULL;
}

/* An argument with each {name} replaced; what is no column stays. Owned. */
static char *fill_in(const struct sweep *sweep, const struct point *point, const char *argument)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    for (const char *at = argument; *at;) {
        size_t length = *at == '{' ? strcspn(at + 1, "}") : 0;
        const char *value =
            *at == '{' && at[1 + length] ? value_of(sweep, point, at + 1, length) : NULL;
        if (value) {
            fputs(value, out);
            at += length + 2;
        } else {
            fputc(*at++, out);
        }
    }
    fclose(out);
    return text;
}

static manta_ref submit(const struct sweep *sweep, const struct point *point)
{
    char *argv[ARGUMENTS_MAX + 1] = {NULL};
    for (int i = 0; sweep->program[i] && i < ARGUMENTS_MAX; i++) {
        argv[i] = fill_in(sweep, point, sweep->program[i]);
    }
    manta_ref ref = manta_command(&sweep->options, (const char *const *)argv, NULL);
    for (int i = 0; argv[i]; i++) {
        free(argv[i]);
    }
    return ref;
}

static const char *last_line(const manta_command_result *result)
{
    static char line[LINE_MAX_BYTES];
    size_t end = result->out_tail_bytes;
    while (end && strchr("\r\n", result->out_tail[end - 1])) {
        end--;
    }
    size_t start = end;
    while (start && result->out_tail[start - 1] != '\n') {
        start--;
    }
    snprintf(line, sizeof line, "%.*s", (int)(end - start), result->out_tail + start);
    return line;
}

static void finish(struct sweep *sweep, const struct point *point, manta_ref ref)
{
    manta_command_result result;
    char seconds[32] = "";
    const char *rest[3] = {"ok", seconds, ""};
    if (manta_command_get(ref, &result) == MANTA_OK) {
        snprintf(seconds, sizeof seconds, "%.3f", (double)result.wall_ns / 1e9);
        rest[2] = last_line(&result);
        sweep->done++;
    } else {
        rest[0] = "failed";
        rest[2] = manta_last_error()->text;
        sweep->failed++;
        fprintf(stderr, "failed: point %zu: %s\n", (size_t)(point - sweep->points) + 1, rest[2]);
    }
    write_row(sweep->results, point->values, sweep->columns, rest);
    (void)manta_drop(ref);
}

static int run(struct sweep *sweep)
{
    manta_queue *queue;
    manta_ref ref;
    void *label;
    MANTA_TRY(manta_queue_create(&queue));
    for (size_t i = 0; i < sweep->count; i++) {
        if (!sweep->points[i].is_done) {
            ref = submit(sweep, &sweep->points[i]);
            MANTA_TRY(manta_queue_add(queue, ref, &sweep->points[i]));
        }
    }
    int code;
    while ((code = manta_queue_next(queue, MANTA_FOREVER, &ref, &label)) == MANTA_OK) {
        finish(sweep, label, ref);
    }
    manta_queue_destroy(queue);
    return code == MANTA_E_NOTFOUND ? MANTA_OK : code; /* nothing is left to wait for */
}

/* ---- The program ----------------------------------------------------------------------------- */

/* How many arguments were options; -1: wrong ones. */
static int read_options(struct sweep *sweep, int argc, char **argv)
{
    int at = 1;
    sweep->options.retry_errors = 0;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        double number = atof(argv[at + 1]);
        if (strcmp(argv[at], "--limit") == 0 && number > 0) {
            sweep->options.timeout_ns = (uint64_t)(number * 1e9);
        } else if (strcmp(argv[at], "--retries") == 0 && number >= 1 && number <= 100) {
            sweep->options.retries = (int32_t)number;
            sweep->options.retry_errors = 1;
        } else {
            return -1;
        }
    }
    return argc - at >= 3 && argc - at - 2 <= ARGUMENTS_MAX ? at - 1 : -1;
}

static int driver(int argc, char **argv)
{
    static struct sweep sweep;
    double start = seconds();
    int used = read_options(&sweep, argc, argv);
    if (used < 0) {
        fprintf(stderr, "usage: sweep [--limit SECONDS] [--retries N] POINTS.csv RESULTS.csv "
                        "PROGRAM ARGUMENT...\n");
        return 2;
    }
    argv += used;
    sweep.results_path = argv[2];
    sweep.program = (const char *const *)argv + 3;
    if (read_points(&sweep, argv[1]) != MANTA_OK) {
        return 2;
    }
    skip_done(&sweep);
    size_t before = sweep.done;
    if (open_results(&sweep) != MANTA_OK) {
        return 2;
    }
    MANTA_TRY(run(&sweep));
    fclose(sweep.results);
    printf("%zu points: %zu done before, %zu done now, %zu failed\n", sweep.count, before,
           sweep.done - before, sweep.failed);
    fprintf(stderr, "%.2f s\n", seconds() - start);
    return sweep.failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
