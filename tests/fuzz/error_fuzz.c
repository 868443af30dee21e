/*
 * Fuzz target: any bytes as error records in a message, one after the other. What is read
 * is a record whose strings end, and which written again gives the bytes it was read from, but for
 * strings too long for it; what cannot be read leaves the reader failed.
 */
#include "base/alloc.h"
#include "fuzz.h"
#include "wire/error.h"

static void check_record(const manta_error *error)
{
    HOLDS(memchr(error->host, 0, sizeof error->host) && memchr(error->task, 0, sizeof error->task));
    HOLDS(memchr(error->file, 0, sizeof error->file) && memchr(error->text, 0, sizeof error->text));
    HOLDS(memchr(error->cause_task, 0, sizeof error->cause_task));
    char line[100];
    int length = manta_error_format(error, line, sizeof line);
    HOLDS(length > 0 && memchr(line, 0, sizeof line));
}

static void check_round_trip(const manta_error *error)
{
    size_t bytes = wire_error_bytes(error);
    uint8_t *out = malloc(bytes); /* of just that size: the sanitizer sees the first byte beyond */
    HOLDS(out);
    wire_error_write(error, out);
    struct wire_reader reader = wire_reader_init(out, bytes);
    manta_error *again = wire_error_read(&reader);
    HOLDS(again && !reader.failed && wire_left(&reader) == 0);
    HOLDS(again->code == error->code && again->line == error->line &&
          again->task_id == error->task_id);
    HOLDS(strcmp(again->host, error->host) == 0 && strcmp(again->task, error->task) == 0);
    HOLDS(strcmp(again->text, error->text) == 0 &&
          strcmp(again->cause_task, error->cause_task) == 0);
    base_free(again);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader reader = wire_reader_init(data, size);
    while (wire_left(&reader)) {
        size_t before = wire_left(&reader);
        manta_error *error = wire_error_read(&reader);
        HOLDS(error ? !reader.failed : reader.failed);
        if (!error) {
            break;
        }
        HOLDS(wire_left(&reader) < before);
        check_record(error);
        check_round_trip(error);
        base_free(error);
    }
    return 0;
}
