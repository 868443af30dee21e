#include "wire/error.h"

#include "base/alloc.h"

struct error_head {
    int32_t code, cause_code;
    uint32_t rank, attempt;
    uint64_t task_id, cause_task_id;
    uint32_t line;
    uint8_t host, task, file, text; /* lengths */
    uint8_t cause_task, unused[3];
};

size_t wire_error_bytes(const manta_error *error)
{
    if (!error) {
        return 0;
    }
    return sizeof(struct error_head) + strlen(error->host) + strlen(error->task) +
           strlen(error->file) + strlen(error->text) + strlen(error->cause_task);
}

void wire_error_write(const manta_error *error, uint8_t *out)
{
    if (!error) {
        return;
    }
    struct error_head head = {.code = error->code,
                              .cause_code = error->cause_code,
                              .rank = error->rank,
                              .attempt = error->attempt,
                              .task_id = error->task_id,
                              .cause_task_id = error->cause_task_id,
                              .line = error->line,
                              .host = (uint8_t)strlen(error->host),
                              .task = (uint8_t)strlen(error->task),
                              .file = (uint8_t)strlen(error->file),
                              .text = (uint8_t)strlen(error->text),
                              .cause_task = (uint8_t)strlen(error->cause_task)};
    wire_put_bytes(&out, &head, sizeof head);
    wire_put_bytes(&out, error->host, head.host);
    wire_put_bytes(&out, error->task, head.task);
    wire_put_bytes(&out, error->file, head.file);
    wire_put_bytes(&out, error->text, head.text);
    wire_put_bytes(&out, error->cause_task, head.cause_task);
}

static void take_text(struct wire_reader *reader, uint8_t length, char *text, size_t size)
{
    const void *bytes = wire_take(reader, length);
    if (bytes && length < size) {
        memcpy(text, bytes, length);
    }
}

/* Read into a record here first: what follows in the message must be found though memory is out. */
manta_error *wire_error_read(struct wire_reader *reader)
{
    struct error_head head;
    const void *bytes = wire_left(reader) ? wire_take(reader, sizeof head) : NULL;
    if (!bytes) {
        return NULL;
    }
    memcpy(&head, bytes, sizeof head);
    manta_error error = {.code = head.code,
                         .cause_code = head.cause_code,
                         .rank = head.rank,
                         .attempt = head.attempt,
                         .task_id = head.task_id,
                         .cause_task_id = head.cause_task_id,
                         .line = head.line};
    take_text(reader, head.host, error.host, sizeof error.host);
    take_text(reader, head.task, error.task, sizeof error.task);
    take_text(reader, head.file, error.file, sizeof error.file);
    take_text(reader, head.text, error.text, sizeof error.text);
    take_text(reader, head.cause_task, error.cause_task, sizeof error.cause_task);
    manta_error *copy = reader->failed ? NULL : base_alloc(sizeof *copy);
    if (copy) {
        *copy = error;
    }
    return copy;
}
