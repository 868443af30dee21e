/*
 * Isolated tasks: a function of the program called in a child that the spawner forks.
 *
 * The spawner is this same program, taken over before its main, so the child finds the function in
 * its own registry by the hash that travels. It gets the resolved arguments as they travel to a
 * rank, and replies with a head, then the outputs as a RESULT has them, or the text of a failure.
 * There is no rank in the child: manta_fail works, everything that submits or waits is refused with
 * MANTA_E_STATE and says why (context.c). What the child does to its memory, signals, files or
 * threads is gone with it.
 */
#include "core/context.h"
#include "core/exec.h"
#include "core/fetch.h"
#include "core/outside.h"
#include "core/pack.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/value.h"

#include <stdio.h>
#include <unistd.h>

struct request_head {
    uint64_t id;
    uint32_t function;
    uint32_t attempt;
};

struct reply_head {
    int32_t code;
    uint32_t bytes; /* that follow */
};

const manta_param *isolated_refused(const manta_function *function)
{
    for (uint32_t i = 0; i < function->param_count; i++) {
        uint32_t kind = function->params[i].kind;
        if (kind == MANTA_KIND_REF || kind == MANTA_KIND_REFS || kind == MANTA_KIND_OUTREFS ||
            kind == MANTA_KIND_STREAM) {
            return &function->params[i];
        }
    }
    return NULL;
}

/* ---- The rank's side ------------------------------------------------------------------------- */

/* The arguments as the child can read them: what lies in the store is copied, because it has none.
 * Returns their bytes; out may be NULL to measure. */
static size_t write_args(struct rank *rank, struct run *run, uint8_t *out)
{
    size_t end = 0;
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    while (pack_next(&walk, &arg)) {
        struct content content = {
            .data = arg.data, .bytes = arg.bytes, .is_refs = arg.is_refs, .is_typed = arg.is_typed};
        if (arg.is_stored) {
            struct location of;
            memcpy(&of, arg.data, sizeof of);
            content.data = fetch_data(rank, &of);
        }
        struct pack_piece piece = pack_is_value(arg.param)
                                      ? pack_value_piece(end, arg.param, &content)
                                      : pack_arg_piece(end, arg.param, arg.data,
                                                       arg.is_null ? PACK_NULL_TEXT : arg.bytes);
        end = pack_put(out, end, &piece);
    }
    return end;
}

int isolated_start(struct outside *outside, const struct spawn_done *done, manta_error *ret_error)
{
    struct run *run = outside->run;
    if (run->code != MANTA_OK) {
        *ret_error = (manta_error){.code = run->code};
        snprintf(ret_error->text, sizeof ret_error->text, "%s", exec_reason(run->code));
        return run->code;
    }
    const struct core_processes *processes = outside->rank->outside.processes;
    const struct request_head head = {
        .id = run->id, .function = function_hash(run->function), .attempt = run->attempt};
    size_t args_bytes = write_args(outside->rank, run, NULL);
    uint8_t *bytes = base_alloc_aligned(16, MT_ALIGN_UP(sizeof head + args_bytes, (size_t)16));
    uint8_t *at = bytes;
    if (!bytes) {
        return MANTA_E_NOMEM;
    }
    wire_put_bytes(&at, &head, sizeof head);
    (void)write_args(outside->rank, run, at);
    if (run->start) { /* its copy is all that it reads */
        pin_end_run(outside->rank, run);
    }
    const struct spawn_isolated isolated = {
        .id = run->id,
        .attempt = run->attempt,
        .bytes = bytes,
        .size = sizeof head + args_bytes,
        .out = {SPAWN_TO_RANK, NULL},
        .err = {SPAWN_TO_RANK, NULL},
        .limits = {.wall_ns = run->timeout_ns, .memory_bytes = outside->terms.memory_bytes}};
    int code = processes->isolated(processes->self, &isolated, done, &outside->handle, ret_error);
    base_free(bytes);
    return code;
}

static int take_text(struct run *run, int code, struct wire_reader *reader, uint32_t bytes)
{
    const void *said = wire_take(reader, bytes);
    manta_error *error = bytes && said ? base_alloc(sizeof *error) : NULL;
    if (error) {
        error->code = code;
        snprintf(error->text, sizeof error->text, "%.*s", (int)bytes, (const char *)said);
        base_free(run->error);
        run->error = error;
    }
    return code;
}

static int take_reply(struct outside *outside, const struct spawn_result *result,
                      struct value **ret_value)
{
    struct run *run = outside->run;
    struct wire_reader reader = wire_reader_init(result->reply, result->reply_bytes);
    const struct function_info *info = function_info(run->function);
    struct reply_head head = {.code = (int32_t)wire_get_u32(&reader)};
    head.bytes = wire_get_u32(&reader);
    if (reader.failed || head.bytes != wire_left(&reader)) {
        return MANTA_E_TYPE;
    }
    if (head.code != MANTA_OK) {
        return take_text(run, head.code, &reader, head.bytes);
    }
    if (info->single_bytes) {
        const void *bytes = wire_take(&reader, info->single_bytes);
        return bytes ? (memcpy(run->small, bytes, info->single_bytes), MANTA_OK) : MANTA_E_TYPE;
    }
    if (info->value_outputs) {
        *ret_value = value_wire_read(outside->rank, &reader, info->value_outputs);
        return *ret_value ? MANTA_OK : MANTA_E_NOMEM;
    }
    return MANTA_OK;
}

int isolated_result(struct outside *outside, const struct spawn_result *result,
                    struct value **ret_value, char *text, size_t text_size)
{
    if (result->has_returned) {
        int code = take_reply(outside, result, ret_value);
        snprintf(text, text_size, "%s",
                 code == MANTA_E_TYPE ? "its reply arrived damaged" : exec_reason(code));
        return code;
    }
    if (result->end == SPAWN_ENDED_EXIT) {
        snprintf(text, text_size,
                 "it ended its process with exit code %d instead of returning; an isolated task "
                 "must return",
                 result->exit_code);
        return MANTA_E_CRASH;
    }
    return result->error.code;
}

/* ---- The child's side ------------------------------------------------------------------------ */

static int write_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size) {
        ssize_t written = write(fd, at, size);
        if (written <= 0) {
            return -1;
        }
        at += written;
        size -= (size_t)written;
    }
    return 0;
}

static int reply_failure(const struct run *run, int code, int reply_fd)
{
    const char *text = run->error && run->error->code == code ? run->error->text : "";
    if (!*text && code == MANTA_E_STATE && context_was_refused()) {
        text = CONTEXT_ISOLATED_TEXT;
    }
    const struct reply_head head = {.code = code, .bytes = (uint32_t)strlen(text)};
    return write_all(reply_fd, &head, sizeof head) || write_all(reply_fd, text, head.bytes);
}

static int reply_outputs(const struct run *run, const struct value *value, int reply_fd)
{
    uint32_t single = function_info(run->function)->single_bytes;
    size_t bytes = single ? single : value ? value_wire_bytes(value) : 0;
    uint8_t *wire = base_alloc(bytes + 1);
    if (!wire) {
        return reply_failure(run, MANTA_E_NOMEM, reply_fd);
    }
    if (single) {
        memcpy(wire, run->small, single);
    } else if (value) {
        value_wire_write(value, wire);
    }
    const struct reply_head head = {.bytes = (uint32_t)bytes};
    int rc = write_all(reply_fd, &head, sizeof head) || write_all(reply_fd, wire, bytes);
    base_free(wire);
    return rc;
}

static int call(struct rank *nowhere, struct run *run, int reply_fd)
{
    struct context context = {.rank = nowhere, .run = run};
    struct value *value = NULL;
    context_set_isolated(&context);
    int code = exec_call_alone(nowhere, run, &value);
    int rc =
        code == MANTA_OK ? reply_outputs(run, value, reply_fd) : reply_failure(run, code, reply_fd);
    context_set_isolated(NULL);
    value_unshare(nowhere, value);
    base_free(run->error);
    return rc;
}

int isolated_main(const void *bytes, size_t size, int reply_fd)
{
    struct request_head head;
    struct rank *nowhere = base_alloc_aligned(MT_CACHE_LINE, sizeof *nowhere);
    struct run run = {.args_bytes = (uint32_t)(size - sizeof head)};
    if (size < sizeof head || !nowhere ||
        !(run.args = base_alloc_aligned(16, MT_ALIGN_UP(run.args_bytes + 1, 16u)))) {
        base_free(nowhere);
        return 1;
    }
    memcpy(&head, bytes, sizeof head);
    memcpy(run.args, (const char *)bytes + sizeof head, run.args_bytes);
    run.id = head.id;
    run.attempt = (uint8_t)head.attempt;
    run.function = registry_find(head.function);
    int rc = run.function ? call(nowhere, &run, reply_fd)
                          : write_all(reply_fd, &(struct reply_head){.code = MANTA_E_VERSION},
                                      sizeof(struct reply_head));
    base_free(run.args);
    base_free(nowhere);
    return rc;
}

__attribute__((constructor)) static void enroll(void)
{
    spawn_set_isolated(isolated_main);
}
