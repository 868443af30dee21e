/* How a request and a reply are read, and checked; see message.h. */
#include "spawn/message.h"

#include "base/alloc.h"
#include "wire/wire.h"

static bool is_text(const char *bytes, uint64_t size)
{
    return memchr(bytes, '\0', size) == bytes + size - 1;
}

static int take_text(struct wire_reader *reader, uint64_t size, const char **ret_text)
{
    const char *text = size ? wire_take(reader, size) : NULL;
    if (size && (!text || !is_text(text, size))) {
        return MANTA_E_INVALID;
    }
    *ret_text = text;
    return MANTA_OK;
}

static uint32_t count_texts(const char *texts, uint64_t bytes)
{
    uint32_t count = 0;
    for (uint64_t at = 0; at < bytes; at += strlen(texts + at) + 1) {
        count++;
    }
    return count;
}

static int take_list(struct wire_reader *reader, uint64_t bytes, struct text_list *ret_list)
{
    const char *texts = bytes ? wire_take(reader, bytes) : NULL;
    if (bytes && (!texts || texts[bytes - 1] != '\0')) {
        return MANTA_E_INVALID;
    }
    *ret_list = (struct text_list){texts, count_texts(texts, bytes), bytes};
    return MANTA_OK;
}

static int take_texts(struct wire_reader *reader, struct request *request)
{
    const uint64_t *bytes = request->head.part_bytes;
    int code = take_list(reader, bytes[PART_ARGV], &request->argv);
    code = code ? code : take_list(reader, bytes[PART_ENVIRONMENT], &request->environment);
    code = code ? code : take_text(reader, bytes[PART_DIRECTORY], &request->directory);
    code = code ? code : take_text(reader, bytes[PART_INPUT_PATH], &request->input_path);
    code = code ? code : take_text(reader, bytes[PART_OUT_PATH], &request->out_path);
    return code ? code : take_text(reader, bytes[PART_ERR_PATH], &request->err_path);
}

static int take_blocks(struct wire_reader *reader, struct request *request)
{
    const uint64_t *bytes = request->head.part_bytes;
    if (bytes[PART_RLIMITS] % sizeof(struct spawn_rlimit) ||
        bytes[PART_RLIMITS] > SPAWN_RLIMITS_MAX * sizeof(struct spawn_rlimit) ||
        bytes[PART_CPUS] > SPAWN_CPU_BYTES_MAX) {
        return MANTA_E_INVALID;
    }
    request->rlimits = wire_take(reader, bytes[PART_RLIMITS]);
    request->rlimit_count = (uint32_t)(bytes[PART_RLIMITS] / sizeof(struct spawn_rlimit));
    request->cpus = wire_take(reader, bytes[PART_CPUS]);
    request->cpu_bytes = (uint32_t)bytes[PART_CPUS];
    request->bytes = wire_take(reader, bytes[PART_BYTES]);
    request->byte_count = bytes[PART_BYTES];
    return reader->failed || wire_left(reader) ? MANTA_E_INVALID : MANTA_OK;
}

static bool has_path(uint8_t to, const char *path)
{
    return (to == SPAWN_TO_FILE || to == SPAWN_TO_APPEND) == (path != NULL);
}

static bool is_sound(const struct request *request)
{
    const struct request_head *head = &request->head;
    bool is_command = head->kind == REQUEST_COMMAND;
    return head->kind >= REQUEST_COMMAND && head->kind <= REQUEST_KILL &&
           head->out_to < SPAWN_TO_STDOUT && head->err_to <= SPAWN_TO_STDOUT &&
           head->environment_kind <= SPAWN_ENVIRONMENT_WHOLE &&
           head->tail_bytes <= SPAWN_TAIL_MAX && has_path(head->out_to, request->out_path) &&
           has_path(head->err_to, request->err_path) && (request->argv.count > 0) == is_command &&
           !(request->input_path && request->byte_count);
}

int request_decode(const void *bytes, size_t size, struct request *ret_request)
{
    struct wire_reader reader = wire_reader_init(bytes, size);
    const void *head = wire_take(&reader, sizeof ret_request->head);
    memset(ret_request, 0, sizeof *ret_request);
    if (!head) {
        return MANTA_E_INVALID;
    }
    memcpy(&ret_request->head, head, sizeof ret_request->head);
    if (ret_request->head.magic != MESSAGE_MAGIC) {
        return MANTA_E_INVALID;
    }
    int code = take_texts(&reader, ret_request);
    code = code ? code : take_blocks(&reader, ret_request);
    return code || is_sound(ret_request) ? code : MANTA_E_INVALID;
}

uint64_t request_token(const void *bytes, size_t size)
{
    struct request_head head;
    if (size < sizeof head) {
        return 0;
    }
    memcpy(&head, bytes, sizeof head);
    return head.magic == MESSAGE_MAGIC ? head.token : 0;
}

int texts_pack(const char *const *texts, char **ret_block, uint64_t *ret_bytes)
{
    uint64_t bytes = 0;
    for (const char *const *text = texts; text && *text; text++) {
        bytes += strlen(*text) + 1;
    }
    char *block = bytes ? base_alloc(bytes) : NULL, *at = block;
    if (bytes && !block) {
        return MANTA_E_NOMEM;
    }
    for (const char *const *text = texts; bytes && *text; text++) {
        at = stpcpy(at, *text) + 1;
    }
    *ret_block = block;
    *ret_bytes = bytes;
    return MANTA_OK;
}

static void take_result(const struct reply_head *head, struct spawn_result *result)
{
    *result = (struct spawn_result){.end = (enum spawn_end)head->end,
                                    .exit_code = head->exit_code,
                                    .signal = head->signal,
                                    .pid = head->pid,
                                    .error = {.code = head->code},
                                    .wall_ns = head->wall_ns,
                                    .user_ns = head->user_ns,
                                    .system_ns = head->system_ns,
                                    .max_rss_bytes = head->max_rss_bytes,
                                    .out_bytes = head->out_bytes,
                                    .err_bytes = head->err_bytes,
                                    .lost_bytes = head->lost_bytes,
                                    .out_tail_bytes = head->out_tail_bytes,
                                    .err_tail_bytes = head->err_tail_bytes,
                                    .has_returned = head->has_returned,
                                    .returned = head->returned,
                                    .reply_bytes = head->reply_bytes};
}

int reply_decode(const void *bytes, size_t size, struct reply_head *ret_head,
                 struct spawn_result *ret_result)
{
    struct wire_reader reader = wire_reader_init(bytes, size);
    const void *head = wire_take(&reader, sizeof *ret_head);
    if (!head) {
        return MANTA_E_INVALID;
    }
    memcpy(ret_head, head, sizeof *ret_head);
    if (ret_head->magic != MESSAGE_MAGIC || ret_head->kind < REPLY_READY ||
        ret_head->kind > REPLY_ENDED || ret_head->end < 0 || ret_head->end >= SPAWN_ENDS ||
        ret_head->text_bytes >= MANTA_ERROR_TEXT_MAX) {
        return MANTA_E_INVALID;
    }
    take_result(ret_head, ret_result);
    ret_result->out_tail = wire_take(&reader, ret_head->out_tail_bytes);
    ret_result->err_tail = wire_take(&reader, ret_head->err_tail_bytes);
    const void *text = wire_take(&reader, ret_head->text_bytes);
    if (!text || wire_left(&reader)) {
        return MANTA_E_INVALID;
    }
    memcpy(ret_result->error.text, text, ret_head->text_bytes);
    return MANTA_OK;
}
