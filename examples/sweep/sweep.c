/*
 * Runs a program once per row of a CSV file, on all ranks, and gathers one table.
 *
 *     sweep [--limit SECONDS] [--retries N] POINTS.csv RESULTS.csv PROGRAM ARGUMENT...
 *
 * The first row of POINTS names the columns; {name} in an argument stands for the value of that
 * column. A {name} that is no column is a mistake, and nothing runs; {{name}} is the text {name},
 * and braces around anything else than a name, and ${name} of a shell, stay as they are.
 *
 * RESULTS gets a row as each point ends: the point's values, ok or failed, the seconds it took, the
 * last line that the program wrote, and the command. Run again, it skips the points that RESULTS
 * has as ok, so a sweep that was cut off goes on where it was; RESULTS with other columns, or with
 * points that another command did, is refused. Failures are listed at the end; the exit code is 1
 * if there were any, 2 if nothing could run.
 */
#include "clock.h"
#include "csv.h"

#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 64, LINE_MAX_BYTES = 160, COMMAND_MAX_BYTES = 1024 };

/* The columns of RESULTS behind those of POINTS. */
enum { STATE, SECONDS, LAST_LINE, COMMAND, REST };
static const char *const rest_names[REST] = {"state", "seconds", "last_line", "command"};

struct point {
    const char *values[CSV_FIELDS_MAX];
    bool is_done; /* before this run */
};

struct sweep {
    const char *points_path, *results_path, *const *program;
    char command[COMMAND_MAX_BYTES]; /* the program and its arguments, in one line */
    manta_options options;
    const char *names[CSV_FIELDS_MAX];
    size_t columns, count, done, failed;
    struct point *points;
    bool has_header; /* RESULTS, before this run */
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

static int read_points(struct sweep *sweep)
{
    static struct csv csv;
    static struct csv_errors errors;
    const char *path = sweep->points_path;
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

static void write_field(FILE *file, const char *text, char end)
{
    size_t length = strlen(text);
    bool is_plain = strpbrk(text, ",\"\r\n") == NULL && strspn(text, " \t") == 0 &&
                    (length == 0 || !strchr(" \t", text[length - 1]));
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

static void write_row(FILE *file, const char *const *values, size_t count,
                      const char *const rest[REST])
{
    for (size_t i = 0; i < count; i++) {
        write_field(file, values[i], ',');
    }
    for (int i = 0; i < REST; i++) {
        write_field(file, rest[i], i == REST - 1 ? '\n' : ',');
    }
    fflush(file);
}

static bool is_header(const struct sweep *sweep, const struct csv *csv)
{
    bool is_same = csv->count == sweep->columns + REST;
    for (size_t i = 0; i < csv->count && is_same; i++) {
        const char *name = i < sweep->columns ? sweep->names[i] : rest_names[i - sweep->columns];
        is_same = strcmp(csv->fields[i].text, name) == 0;
    }
    return is_same;
}

static int tell_other_columns(const struct sweep *sweep, const struct csv *csv)
{
    fprintf(stderr,
            "%s is of another sweep: it has other columns\n     has: ", sweep->results_path);
    for (size_t i = 0; i < csv->count; i++) {
        write_field(stderr, csv->fields[i].text, i + 1 == csv->count ? '\n' : ',');
    }
    fputs("expected: ", stderr);
    write_row(stderr, sweep->names, sweep->columns, rest_names);
    fputs("give another RESULTS file, or the POINTS that this one was made from\n", stderr);
    return MANTA_E_INVALID;
}

static int tell_other_command(const struct sweep *sweep, const struct csv *csv)
{
    fprintf(stderr,
            "%s is of another sweep: line %u was done by another command\n     has: %s\n"
            "expected: %s\ngive another RESULTS file, or remove this one to do all points again\n",
            sweep->results_path, csv->fields[0].line, csv->fields[sweep->columns + COMMAND].text,
            sweep->command);
    return MANTA_E_INVALID;
}

static void mark_done(struct sweep *sweep, const struct csv *csv)
{
    for (size_t i = 0; i < sweep->count; i++) {
        bool is_same = !sweep->points[i].is_done;
        for (size_t k = 0; k < sweep->columns && is_same; k++) {
            is_same = strcmp(csv->fields[k].text, sweep->points[i].values[k]) == 0;
        }
        if (is_same) {
            sweep->points[i].is_done = true;
            sweep->done++;
            break;
        }
    }
}

/* A torn last line of a sweep that was cut off is no result. */
static int skip_done(struct sweep *sweep)
{
    static struct csv csv;
    static struct csv_errors errors;
    size_t bytes;
    char *text = read_file(sweep->results_path, &bytes);
    csv_init(&csv, text ? text : "", text ? bytes : 0);
    sweep->has_header = csv_next(&csv, &errors);
    int code =
        sweep->has_header && !is_header(sweep, &csv) ? tell_other_columns(sweep, &csv) : MANTA_OK;
    while (code == MANTA_OK && csv_next(&csv, &errors)) {
        if (csv.count != sweep->columns + REST ||
            strcmp(csv.fields[sweep->columns + STATE].text, "ok") != 0) {
            continue;
        }
        if (strcmp(csv.fields[sweep->columns + COMMAND].text, sweep->command) != 0) {
            code = tell_other_command(sweep, &csv);
        } else {
            mark_done(sweep, &csv);
        }
    }
    free(text);
    return code;
}

static int open_results(struct sweep *sweep)
{
    sweep->results = fopen(sweep->results_path, "a");
    if (!sweep->results) {
        fprintf(stderr, "cannot write %s\n", sweep->results_path);
        return MANTA_E_SYSTEM;
    }
    if (sweep->has_header) {
        fputc('\n', sweep->results); /* behind a line that may be torn; blank lines are skipped */
    } else {
        write_row(sweep->results, sweep->names, sweep->columns, rest_names);
    }
    return MANTA_OK;
}

/* ---- Points ---------------------------------------------------------------------------------- */

/* What comes next in an argument. */
struct piece {
    enum { PIECE_TEXT, PIECE_COLUMN, PIECE_UNKNOWN } kind;
    const char *text;             /* to be written; a name */
    size_t length, column, bytes; /* bytes: of the argument */
};

/* How many bytes a word of letters, digits and _ has; 0: there is none. */
static size_t word_length(const char *at)
{
    static const char letters[] = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    return *at >= '0' && *at <= '9' ? 0 : strspn(at, letters);
}

static size_t find_column(const struct sweep *sweep, const char *name, size_t length)
{
    size_t i = 0;
    while (i < sweep->columns &&
           (strlen(sweep->names[i]) != length || strncmp(sweep->names[i], name, length) != 0)) {
        i++;
    }
    return i;
}

static struct piece next_piece(const struct sweep *sweep, const char *argument, const char *at)
{
    size_t doubled = strncmp(at, "{{", 2) == 0 ? word_length(at + 2) : 0;
    if (doubled && strncmp(at + 2 + doubled, "}}", 2) == 0) {
        return (struct piece){PIECE_TEXT, at + 1, doubled + 2, 0, doubled + 4};
    }
    size_t length = *at == '{' ? strcspn(at + 1, "}") : 0;
    if (length && at[1 + length]) {
        size_t column = find_column(sweep, at + 1, length);
        if (column < sweep->columns) {
            return (struct piece){PIECE_COLUMN, at + 1, length, column, length + 2};
        }
        if (word_length(at + 1) == length && !(at > argument && at[-1] == '$')) {
            return (struct piece){PIECE_UNKNOWN, at + 1, length, column, length + 2};
        }
    }
    return (struct piece){PIECE_TEXT, at, 1, 0, 1};
}

/* The command must fit each point, before the first runs. */
static int check_names(const struct sweep *sweep)
{
    struct piece piece;
    for (int i = 0; sweep->program[i]; i++) {
        for (const char *at = sweep->program[i]; *at; at += piece.bytes) {
            piece = next_piece(sweep, sweep->program[i], at);
            if (piece.kind == PIECE_UNKNOWN) {
                int length = (int)piece.length;
                fprintf(stderr, "the command has {%.*s}, but %s has no such column, only: ", length,
                        piece.text, sweep->points_path);
                for (size_t k = 0; k < sweep->columns; k++) {
                    write_field(stderr, sweep->names[k], k + 1 == sweep->columns ? '\n' : ',');
                }
                fprintf(stderr, "for the text itself write {{%.*s}}\n", length, piece.text);
                return MANTA_E_INVALID;
            }
        }
    }
    return MANTA_OK;
}

/* An argument with each {name} replaced. Owned. */
static char *fill_in(const struct sweep *sweep, const struct point *point, const char *argument)
{
    char *text = NULL;
    size_t bytes;
    struct piece piece;
    FILE *out = open_memstream(&text, &bytes);
    for (const char *at = argument; *at; at += piece.bytes) {
        piece = next_piece(sweep, argument, at);
        if (piece.kind == PIECE_COLUMN) {
            fputs(point->values[piece.column], out);
        } else {
            fwrite(piece.text, 1, piece.length, out);
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
    const char *rest[REST] = {"ok", seconds, "", sweep->command};
    if (manta_command_get(ref, &result) == MANTA_OK) {
        snprintf(seconds, sizeof seconds, "%.3f", (double)result.wall_ns / 1e9);
        rest[LAST_LINE] = last_line(&result);
        sweep->done++;
    } else {
        rest[STATE] = "failed";
        rest[LAST_LINE] = manta_last_error()->text;
        sweep->failed++;
        fprintf(stderr, "failed: point %zu: %s\n", (size_t)(point - sweep->points) + 1,
                rest[LAST_LINE]);
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

/* The command in one line. False: it is too long for RESULTS. */
static bool join_command(struct sweep *sweep)
{
    size_t used = 0;
    for (int i = 0; sweep->program[i]; i++) {
        int wrote = snprintf(sweep->command + used, sizeof sweep->command - used, "%s%s",
                             i ? " " : "", sweep->program[i]);
        used += (size_t)wrote;
        if (used >= sizeof sweep->command) {
            fprintf(stderr, "the command has more than %d bytes: put it into a script\n",
                    COMMAND_MAX_BYTES - 1);
            return false;
        }
    }
    for (char *at = sweep->command; (at = strpbrk(at, "\r\n")) != NULL;) {
        *at = ' ';
    }
    return true;
}

/* Files and command are right, and RESULTS is open. */
static bool prepare(struct sweep *sweep)
{
    return join_command(sweep) && read_points(sweep) == MANTA_OK &&
           check_names(sweep) == MANTA_OK && skip_done(sweep) == MANTA_OK &&
           open_results(sweep) == MANTA_OK;
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
    sweep.points_path = argv[1];
    sweep.results_path = argv[2];
    sweep.program = (const char *const *)argv + 3;
    if (!prepare(&sweep)) {
        return 2;
    }
    size_t before = sweep.done;
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
