/*
 * A CSV reader (RFC 4180) for files that people made by hand or with a spreadsheet.
 *
 * It reads from memory, record by record. Fields may be quoted (a doubled quote inside
 * is one quote; commas and line ends inside count as text); lines end in LF, CRLF or
 * CR; a UTF-8 byte order mark, blank lines and blanks around a field are skipped. What
 * is malformed is reported with its line and column and the reader goes on behind it,
 * so that one pass finds all mistakes. Columns count characters, not bytes, from 1.
 *
 * No allocation: a record that is longer than CSV_RECORD_MAX bytes or has more than
 * CSV_FIELDS_MAX fields is one of the mistakes. The time is linear in the input.
 */
#ifndef MONTECARLO_CSV_H
#define MONTECARLO_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_RECORD_MAX 4096
#define CSV_FIELDS_MAX 64
#define CSV_ERRORS_MAX 50
#define CSV_TEXT_MAX 160

struct csv_error {
    uint32_t line;
    uint32_t column;
    char text[CSV_TEXT_MAX];
};

/* The first CSV_ERRORS_MAX mistakes, and how many there were in all. Zero it before use. */
struct csv_errors {
    size_t count;
    struct csv_error list[CSV_ERRORS_MAX];
};

struct csv_field {
    const char *text; /* ends in NUL; borrowed until the next csv_next */
    size_t length;    /* bytes */
    uint32_t line;
    uint32_t column;
};

struct csv {
    const unsigned char *at;
    const unsigned char *end;
    uint32_t line;     /* of `at` */
    uint32_t column;   /* of `at` */
    size_t count;      /* fields of the current record */
    size_t used;       /* bytes of `buffer` */
    uint32_t end_line; /* where the current record ended, to say what is missing there */
    uint32_t end_column;
    struct csv_field fields[CSV_FIELDS_MAX];
    char buffer[CSV_RECORD_MAX + CSV_FIELDS_MAX];
};

/* Starts at the first record of a text, which is borrowed until the last csv_next. */
void csv_init(struct csv *csv, const void *text, size_t bytes);

/* Goes to the next well-formed record: csv->fields[csv->count]. False at the end of the text. */
bool csv_next(struct csv *csv, struct csv_errors *errors);

/* Notes a mistake. */
void csv_report(struct csv_errors *errors, uint32_t line, uint32_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A field as it may be shown in a message: in quotes, cut, without control characters. */
struct csv_shown {
    char text[32];
};
struct csv_shown csv_show(const struct csv_field *field);

#endif
