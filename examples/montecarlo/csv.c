/*
 * The reader is a small recursive descent over bytes: record -> field -> quoted or
 * plain. A field is copied once, into the record's buffer. A malformed record is
 * reported once, at the place where it stopped making sense, and reading goes on at
 * the line after the one on which that record began: a quote that is never closed
 * then costs one line of the file, not all the rest. Such a scan is cut off at
 * CSV_RECORD_MAX bytes, which keeps the whole linear.
 */
#include "csv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum result { GOOD, BAD };

void csv_report(struct csv_errors *errors, uint32_t line, uint32_t column, const char *format, ...)
{
    size_t index = errors->count++;
    if (index >= CSV_ERRORS_MAX) {
        return;
    }
    struct csv_error *error = &errors->list[index];
    error->line = line;
    error->column = column;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
}

struct csv_shown csv_show(const struct csv_field *field)
{
    struct csv_shown shown;
    size_t room = sizeof shown.text - 6; /* two quotes, "...", NUL */
    size_t length = field->length < room ? field->length : room;
    size_t at = 0;
    shown.text[at++] = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)field->text[i];
        shown.text[at++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    shown.text[at++] = '"';
    snprintf(shown.text + at, sizeof shown.text - at, "%s", length < field->length ? "..." : "");
    return shown;
}

void csv_init(struct csv *csv, const void *text, size_t bytes)
{
    csv->at = text;
    csv->end = csv->at + bytes;
    csv->line = csv->column = 1;
    csv->count = csv->used = 0;
    csv->end_line = csv->end_column = 1;
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        csv->at += 3;
    }
}

/* The next byte, or -1 at the end. */
static int peek(const struct csv *csv)
{
    return csv->at < csv->end ? *csv->at : -1;
}

static bool is_line_end(int c)
{
    return c == '\n' || c == '\r' || c == -1;
}

/* Steps over one byte; CRLF is one step. Bytes inside a UTF-8 character do not count as columns. */
static void step(struct csv *csv)
{
    unsigned char c = *csv->at++;
    if (c == '\r' && peek(csv) == '\n') {
        csv->at++;
    }
    if (c == '\n' || c == '\r') {
        csv->line++;
        csv->column = 1;
    } else if ((c & 0xc0) != 0x80) {
        csv->column++;
    }
}

static void skip_blanks(struct csv *csv)
{
    while (peek(csv) == ' ' || peek(csv) == '\t') {
        step(csv);
    }
}

static void skip_line(struct csv *csv)
{
    while (!is_line_end(peek(csv))) {
        step(csv);
    }
    if (csv->at < csv->end) {
        step(csv);
    }
}

/* Moves one byte into the buffer. False when the record is too long. */
static bool take(struct csv *csv)
{
    if (csv->used >= CSV_RECORD_MAX) {
        return false;
    }
    csv->buffer[csv->used++] = (char)*csv->at;
    step(csv);
    return true;
}

static enum result too_long(const struct csv *csv, struct csv_errors *errors)
{
    csv_report(errors, csv->line, csv->column, "the record is longer than %d bytes",
               CSV_RECORD_MAX);
    return BAD;
}

static enum result read_quoted(struct csv *csv, struct csv_errors *errors)
{
    uint32_t line = csv->line, column = csv->column;
    size_t start = csv->used;
    for (step(csv);;) {
        int c = peek(csv);
        if (c == -1 || csv->used - start >= CSV_RECORD_MAX - 1) {
            csv_report(errors, line, column, "this quote is not closed%s",
                       c == -1 ? "" : " within the longest record");
            return BAD;
        }
        if (c == 0) {
            csv_report(errors, csv->line, csv->column, "a zero byte: is this a text file?");
            return BAD;
        }
        if (c == '"') {
            step(csv);
            if (peek(csv) != '"') {
                break;
            }
        }
        if (!take(csv)) {
            return too_long(csv, errors);
        }
    }
    skip_blanks(csv);
    if (peek(csv) != ',' && !is_line_end(peek(csv))) {
        csv_report(errors, csv->line, csv->column, "text after the closing quote");
        return BAD;
    }
    return GOOD;
}

static enum result read_plain(struct csv *csv, struct csv_errors *errors)
{
    size_t start = csv->used;
    for (int c = peek(csv); c != ',' && !is_line_end(c); c = peek(csv)) {
        if (c == 0 || c == '"') {
            csv_report(errors, csv->line, csv->column, "%s",
                       c == 0 ? "a zero byte: is this a text file?"
                              : "a quote inside a field that does not begin with one");
            return BAD;
        }
        if (!take(csv)) {
            return too_long(csv, errors);
        }
    }
    while (csv->used > start &&
           (csv->buffer[csv->used - 1] == ' ' || csv->buffer[csv->used - 1] == '\t')) {
        csv->used--;
    }
    return GOOD;
}

static enum result read_field(struct csv *csv, struct csv_errors *errors)
{
    skip_blanks(csv);
    if (csv->count == CSV_FIELDS_MAX) {
        csv_report(errors, csv->line, csv->column, "more than %d fields", CSV_FIELDS_MAX);
        return BAD;
    }
    struct csv_field *field = &csv->fields[csv->count];
    field->text = csv->buffer + csv->used;
    field->line = csv->line;
    field->column = csv->column;
    enum result result = peek(csv) == '"' ? read_quoted(csv, errors) : read_plain(csv, errors);
    if (result == BAD) {
        return BAD;
    }
    field->length = (size_t)(csv->buffer + csv->used - field->text);
    csv->buffer[csv->used++] = '\0';
    csv->count++;
    return GOOD;
}

static enum result read_record(struct csv *csv, struct csv_errors *errors)
{
    csv->count = csv->used = 0;
    for (;;) {
        if (read_field(csv, errors) == BAD) {
            return BAD;
        }
        if (peek(csv) != ',') {
            break;
        }
        step(csv);
    }
    csv->end_line = csv->line;
    csv->end_column = csv->column;
    skip_line(csv);
    return GOOD;
}

bool csv_next(struct csv *csv, struct csv_errors *errors)
{
    while (csv->at < csv->end) {
        skip_blanks(csv);
        if (is_line_end(peek(csv))) {
            skip_line(csv);
            continue;
        }
        const unsigned char *start = csv->at;
        uint32_t line = csv->line;
        if (read_record(csv, errors) == GOOD) {
            return true;
        }
        csv->at = start;
        csv->line = line;
        skip_line(csv);
    }
    return false;
}
