/*
 * A command or an isolated function as a request: checked, then laid out in pieces that point
 * to the caller's memory, so that a small one is copied once, into the socket.
 */
#include "spawn/ask.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int spawn_fail(manta_error *ret_error, int code, const char *format, ...)
{
    va_list args;
    if (ret_error) {
        ret_error->code = code;
        va_start(args, format);
        vsnprintf(ret_error->text, sizeof ret_error->text, format, args);
        va_end(args);
    }
    return code;
}

static int check_stream(const struct spawn_stream *stream, bool is_err, manta_error *ret_error)
{
    bool needs_path = stream->to == SPAWN_TO_FILE || stream->to == SPAWN_TO_APPEND;
    if ((unsigned)stream->to > SPAWN_TO_STDOUT - (is_err ? 0 : 1) ||
        needs_path != (stream->path != NULL)) {
        return spawn_fail(
            ret_error, MANTA_E_INVALID,
            "standard %s: a path was %s for kind %d; a path goes with SPAWN_TO_FILE and "
            "SPAWN_TO_APPEND only",
            is_err ? "error" : "output", stream->path ? "given" : "not given", (int)stream->to);
    }
    return MANTA_OK;
}

static int check_limits(const struct spawn_limits *limits, manta_error *ret_error)
{
    if (limits->tail_bytes > SPAWN_TAIL_MAX || limits->rlimit_count > SPAWN_RLIMITS_MAX ||
        limits->cpu_bytes > SPAWN_CPU_BYTES_MAX || (limits->cpus == NULL) != !limits->cpu_bytes) {
        return spawn_fail(
            ret_error, MANTA_E_INVALID,
            "tail of %u bytes, %u rlimits, %u bytes of processors: at most %u, %u, %u",
            limits->tail_bytes, limits->rlimit_count, limits->cpu_bytes, SPAWN_TAIL_MAX,
            SPAWN_RLIMITS_MAX, SPAWN_CPU_BYTES_MAX);
    }
    return MANTA_OK;
}

static void set_part(struct request_head *head, struct iovec *pieces, enum request_part part,
                     const void *bytes, size_t size)
{
    head->part_bytes[part] = bytes ? size : 0;
    pieces[1 + part] = (struct iovec){(void *)(uintptr_t)bytes, head->part_bytes[part]};
}

static void set_text(struct request_head *head, struct iovec *pieces, enum request_part part,
                     const char *text)
{
    set_part(head, pieces, part, text, text ? strlen(text) + 1 : 0);
}

static void set_limits(struct request_head *head, struct iovec *pieces,
                       const struct spawn_limits *limits)
{
    head->wall_ns = limits->wall_ns;
    head->memory_bytes = limits->memory_bytes;
    head->grace_ns = limits->grace_ns;
    head->output_bytes = limits->output_bytes;
    head->tail_bytes = limits->tail_bytes;
    set_part(head, pieces, PART_RLIMITS, limits->rlimits,
             limits->rlimit_count * sizeof *limits->rlimits);
    set_part(head, pieces, PART_CPUS, limits->cpus, limits->cpu_bytes);
}

static void set_streams(struct request_head *head, struct iovec *pieces,
                        const struct spawn_stream *out, const struct spawn_stream *err)
{
    head->out_to = (uint8_t)out->to;
    head->err_to = (uint8_t)err->to;
    set_text(head, pieces, PART_OUT_PATH, out->path);
    set_text(head, pieces, PART_ERR_PATH, err->path);
}

static int explain(int code, manta_error *ret_error)
{
    switch (code) {
    case MANTA_OK:
        return code;
    case MANTA_E_SYSTEM:
        return spawn_fail(ret_error, code, "%s", SPAWN_NO_SPAWNER);
    case MANTA_E_LIMIT:
        return spawn_fail(ret_error, code, "no descriptor for a long request: raise ulimit -n");
    default:
        return spawn_fail(ret_error, code, "no memory for the request to the spawner");
    }
}

static int check_command(const struct spawn_command *command, manta_error *ret_error)
{
    if (!command->argv || !command->argv[0]) {
        return spawn_fail(ret_error, MANTA_E_INVALID,
                          "a command without argv[0]: name the program");
    }
    if (command->input_bytes && command->input_path) {
        return spawn_fail(ret_error, MANTA_E_INVALID,
                          "%.40s has two standard inputs, bytes and the file %.60s: give one",
                          command->argv[0], command->input_path);
    }
    int code = check_stream(&command->out, false, ret_error);
    code = code ? code : check_stream(&command->err, true, ret_error);
    return code ? code : check_limits(&command->limits, ret_error);
}

int spawn_command(struct spawn *spawn, const struct spawn_command *command,
                  const struct spawn_done *done, uint64_t *ret_handle, manta_error *ret_error)
{
    struct iovec pieces[MESSAGE_PIECES];
    struct request_head head = {.magic = MESSAGE_MAGIC, .kind = REQUEST_COMMAND};
    char *argv = NULL, *environment = NULL;
    uint64_t argv_bytes = 0, environment_bytes = 0;
    int code = check_command(command, ret_error);
    if (code != MANTA_OK) {
        return code;
    }
    code = texts_pack(command->argv, &argv, &argv_bytes);
    code = code ? code : texts_pack(command->environment, &environment, &environment_bytes);
    if (code == MANTA_OK) {
        head.id = command->id;
        head.attempt = command->attempt;
        head.environment_kind = (uint8_t)command->environment_kind;
        pieces[0] = (struct iovec){&head, sizeof head};
        set_part(&head, pieces, PART_ARGV, argv, argv_bytes);
        set_part(&head, pieces, PART_ENVIRONMENT, environment, environment_bytes);
        set_text(&head, pieces, PART_DIRECTORY, command->directory);
        set_text(&head, pieces, PART_INPUT_PATH, command->input_path);
        set_part(&head, pieces, PART_BYTES, command->input, command->input_bytes);
        set_streams(&head, pieces, &command->out, &command->err);
        set_limits(&head, pieces, &command->limits);
        code = spawn_ask(spawn, &head, pieces, done, ret_handle);
    }
    base_free(argv);
    base_free(environment);
    return explain(code, ret_error);
}

int spawn_isolated(struct spawn *spawn, const struct spawn_isolated *isolated,
                   const struct spawn_done *done, uint64_t *ret_handle, manta_error *ret_error)
{
    struct iovec pieces[MESSAGE_PIECES] = {{NULL, 0}};
    struct request_head head = {.magic = MESSAGE_MAGIC,
                                .kind = REQUEST_ISOLATED,
                                .id = isolated->id,
                                .attempt = isolated->attempt};
    int code = check_stream(&isolated->out, false, ret_error);
    code = code ? code : check_stream(&isolated->err, true, ret_error);
    code = code ? code : check_limits(&isolated->limits, ret_error);
    if (code != MANTA_OK) {
        return code;
    }
    pieces[0] = (struct iovec){&head, sizeof head};
    set_part(&head, pieces, PART_BYTES, isolated->bytes, isolated->size);
    set_streams(&head, pieces, &isolated->out, &isolated->err);
    set_limits(&head, pieces, &isolated->limits);
    return explain(spawn_ask(spawn, &head, pieces, done, ret_handle), ret_error);
}
