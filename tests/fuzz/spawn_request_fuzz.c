/*
 * Fuzz target: any bytes as a request to a spawner. What is understood lies within the bytes, its
 * texts end, its lists have as many texts as they say, and a request that was understood is not
 * when it is one byte shorter. The same bytes as a reply leave results that lie within them too.
 */
#include "fuzz.h"
#include "spawn/message.h"

static const uint8_t *begin, *end;

static void check_block(const void *block, size_t size)
{
    const uint8_t *at = block;
    HOLDS(size == 0 || (at >= begin && at + size <= end));
}

static void check_text(const char *text)
{
    if (text) {
        check_block(text, strlen(text) + 1);
    }
}

static void check_list(const struct text_list *list)
{
    const char *at = list->texts;
    for (uint32_t i = 0; i < list->count; i++, at += strlen(at) + 1) {
        check_text(at);
    }
    HOLDS(list->texts ? at == list->texts + list->bytes : list->bytes == 0);
}

static void check_request(const struct request *request)
{
    check_list(&request->argv);
    check_list(&request->environment);
    check_text(request->directory);
    check_text(request->input_path);
    check_text(request->out_path);
    check_text(request->err_path);
    check_block(request->rlimits, request->rlimit_count * sizeof(struct spawn_rlimit));
    check_block(request->cpus, request->cpu_bytes);
    check_block(request->bytes, request->byte_count);
    HOLDS(request->rlimit_count <= SPAWN_RLIMITS_MAX && request->cpu_bytes <= SPAWN_CPU_BYTES_MAX);
    HOLDS(request->head.tail_bytes <= SPAWN_TAIL_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request request;
    struct reply_head head;
    struct spawn_result result;
    begin = data;
    end = data + size;
    (void)request_token(data, size);
    if (request_decode(data, size, &request) == MANTA_OK) {
        check_request(&request);
        HOLDS(request_token(data, size) == request.head.token);
        HOLDS(request_decode(data, size - 1, &request) == MANTA_E_INVALID);
    }
    if (reply_decode(data, size, &head, &result) == MANTA_OK) {
        check_block(result.out_tail, result.out_tail_bytes);
        check_block(result.err_tail, result.err_tail_bytes);
        HOLDS(memchr(result.error.text, '\0', sizeof result.error.text));
        HOLDS((unsigned)result.end < SPAWN_ENDS);
    }
    return 0;
}
