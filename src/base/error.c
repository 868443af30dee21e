/*
 * Names and texts of the error codes, and the one-line form of an error record.
 *
 * Both come from MANTA_ERROR_MAP, so a code added there is named here without a
 * change. The line is written piece by piece into a buffer that may be too small:
 * the writer counts what it would need and never writes past the end. A record comes
 * from another rank, so its strings are not trusted: they are cut at their own size,
 * and characters that would break the line become blanks.
 */
#include "manta/error.h"
#include "base/compiler.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct writer {
    char *text;
    size_t size, length;
};

MT_EXPORT const char *manta_error_name(int code)
{
    switch (code) {
#define MANTA_X(name, value, text)                                                                 \
    case value:                                                                                    \
        return #name;
        MANTA_ERROR_MAP(MANTA_X)
#undef MANTA_X
    case MANTA_OK:
        return "OK";
    default:
        return code > 0 ? "user code" : "unknown code";
    }
}

MT_EXPORT const char *manta_error_text(int code)
{
    switch (code) {
#define MANTA_X(name, value, text)                                                                 \
    case value:                                                                                    \
        return text;
        MANTA_ERROR_MAP(MANTA_X)
#undef MANTA_X
    case MANTA_OK:
        return "no error";
    default:
        return code > 0 ? "the task returned an error code" : "an unknown error";
    }
}

static void put_char(struct writer *writer, char c)
{
    if (writer->length + 1 < writer->size) {
        writer->text[writer->length] = (unsigned char)c < ' ' || c == 0x7f ? ' ' : c;
    }
    writer->length++;
}

static void put_field(struct writer *writer, const char *field, size_t field_size)
{
    size_t length = strnlen(field, field_size);
    for (size_t i = 0; i < length; i++) {
        put_char(writer, field[i]);
    }
}

MT_PRINTF(2, 3) static void put(struct writer *writer, const char *format, ...)
{
    char piece[160];
    va_list args;
    va_start(args, format);
    vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    put_field(writer, piece, sizeof piece);
}

static void put_code(struct writer *writer, int code)
{
    if (code > 0) {
        put(writer, "%s (%s %d)", manta_error_text(code), manta_error_name(code), code);
    } else {
        put(writer, "%s (%s)", manta_error_text(code), manta_error_name(code));
    }
}

static void put_task(struct writer *writer, const char *name, uint64_t task_id)
{
    if (name[0]) {
        put(writer, "task ");
        put_field(writer, name, MANTA_ERROR_NAME_MAX);
    } else {
        put(writer, "task #%" PRIx64, task_id);
    }
}

static void put_place(struct writer *writer, const manta_error *error)
{
    if (error->task[0] || error->task_id) {
        put(writer, " in ");
        put_task(writer, error->task, error->task_id);
    }
    if (error->file[0]) {
        put(writer, " at ");
        put_field(writer, error->file, sizeof error->file);
        if (error->line) {
            put(writer, ":%" PRIu32, error->line);
        }
    }
    put(writer, " on rank %" PRIu32, error->rank);
    if (error->host[0]) {
        put(writer, " of ");
        put_field(writer, error->host, sizeof error->host);
    }
    if (error->attempt) {
        put(writer, ", attempt %" PRIu32, error->attempt);
    }
}

static void put_cause(struct writer *writer, const manta_error *error)
{
    put(writer, "; it began with ");
    put_code(writer, error->cause_code);
    if (error->cause_task[0] || error->cause_task_id) {
        put(writer, " in ");
        put_task(writer, error->cause_task, error->cause_task_id);
    }
}

MT_EXPORT int manta_error_format(const manta_error *error, char *text, unsigned long size)
{
    static const manta_error none;
    struct writer writer = {text, text ? size : 0, 0};
    error = error ? error : &none;
    put_code(&writer, error->code);
    if (error->code != MANTA_OK) {
        put_place(&writer, error);
    }
    if (error->text[0]) {
        put(&writer, ": ");
        put_field(&writer, error->text, sizeof error->text);
    }
    if (error->cause_code) {
        put_cause(&writer, error);
    }
    if (writer.size) {
        text[MT_MIN(writer.length, writer.size - 1)] = '\0';
    }
    return (int)writer.length;
}
