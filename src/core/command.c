/*
 * manta_command: external programs as tasks.
 *
 * A command is a task of one built-in function. Its first argument is everything about the program
 * in one block: a head with numbers, then texts that end in NUL (argv, environment, directory, the
 * paths of input, output and error; an empty path is none), then the bytes of its standard input.
 * Its second is refs that it waits for (pack_is_after). Its output is again one block: a head, and
 * the two tails with a NUL behind each; manta_command_read reads it in place. The block of the
 * request comes from other ranks, so the reader checks every length.
 */
#include "core/context.h"
#include "core/exec.h"
#include "core/outside.h"
#include "core/pack.h"
#include "core/task.h"
#include "core/value.h"

#include <limits.h>
#include <stdio.h>

enum { TAIL_DEFAULT = 4096, PATHS = 4 };

#define RESULT_MAGIC UINT32_C(0x6d636d64)

struct command_head {
    uint64_t grace_ns, output_bytes;
    uint32_t argc, envc, input_bytes, tail_bytes;
    uint8_t out, err, environment_whole, accept_codes;
    uint32_t unused;
};

struct result_head {
    uint32_t magic;
    int32_t exit_code, pid;
    uint32_t rank, attempt;
    uint32_t out_tail_bytes, err_tail_bytes, unused;
    uint64_t task_id, wall_ns, user_ns, system_ns, max_rss_bytes;
    uint64_t out_bytes, err_bytes, lost_bytes;
};

/* ---- The function ---------------------------------------------------------------------------- */

static int run_nothing(const manta_slot *slots)
{
    return manta_fail(MANTA_E_TYPE, "a command arrived as if it were a task of the program");
}

enum { PARAM_WHAT, PARAM_AFTER, PARAMS_IN };

static const manta_param params[] = {[PARAM_WHAT] = {MANTA_KIND_SPAN, 1, 1, 0, "command", "argv"},
                                     [PARAM_AFTER] = {MANTA_KIND_REFS, 1, 8, 0, "after", "after"},
                                     [PARAMS_IN] = {MANTA_KIND_OUTV, 1, 16, 0, "result", "result"}};

static manta_function function = {.name = "manta_command",
                                  .file = "",
                                  .param_count = MT_COUNT(params),
                                  .params = params,
                                  .run = run_nothing};

__attribute__((constructor)) static void enroll(void)
{
    manta_function_register(&function);
}

manta_function *command_function(void)
{
    return &function;
}

/* ---- Submitting ------------------------------------------------------------------------------ */

/* Writes texts and bytes one after the other; only measures while `out` is NULL. */
struct writer {
    uint8_t *out;
    size_t at;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (writer->out && size) {
        memcpy(writer->out + writer->at, bytes, size);
    }
    writer->at += size;
}

static uint32_t put_texts(struct writer *writer, const char *const *texts)
{
    uint32_t count = 0;
    for (; texts && texts[count]; count++) {
        put(writer, texts[count], strlen(texts[count]) + 1);
    }
    return count;
}

static size_t write_command(const char *const *argv, const manta_command_setup *setup, uint8_t *out)
{
    struct writer writer = {out, sizeof(struct command_head)};
    const char *paths[PATHS] = {setup->directory, setup->input_path, setup->out.path,
                                setup->err.path};
    struct command_head head = {.grace_ns = setup->grace_ns,
                                .output_bytes = setup->output_bytes,
                                .input_bytes = (uint32_t)setup->input_bytes,
                                .tail_bytes = setup->tail_bytes ? setup->tail_bytes : TAIL_DEFAULT,
                                .out = (uint8_t)setup->out.to,
                                .err = (uint8_t)setup->err.to,
                                .environment_whole = (uint8_t)setup->environment_whole,
                                .accept_codes = (uint8_t)setup->accept_codes};
    head.argc = put_texts(&writer, argv);
    head.envc = put_texts(&writer, setup->environment);
    for (int i = 0; i < PATHS; i++) {
        const char *path = paths[i] ? paths[i] : "";
        put(&writer, path, strlen(path) + 1);
    }
    put(&writer, setup->input, setup->input_bytes);
    if (out) {
        memcpy(out, &head, sizeof head);
    }
    return writer.at;
}

static bool is_file(const manta_stream *stream)
{
    return stream->to == MANTA_STREAM_FILE || stream->to == MANTA_STREAM_APPEND;
}

static const char *wrong_stream(const manta_stream *stream, bool is_err)
{
    if ((int)stream->to < 0 || stream->to > MANTA_STREAM_STDOUT ||
        (stream->to == MANTA_STREAM_STDOUT && !is_err)) {
        return is_err ? "err.to is no manta_stream_to"
                      : "out.to is none of MANTA_STREAM_CAPTURED, _NOTHING, _FILE, _APPEND, _RANK";
    }
    if (is_file(stream) != (stream->path && *stream->path)) {
        return is_err ? "err.path is for MANTA_STREAM_FILE and _APPEND, which need it"
                      : "out.path is for MANTA_STREAM_FILE and _APPEND, which need it";
    }
    return NULL;
}

/* "NAME=value" or "NAME": what has no name could be neither set nor unset. */
static const char *nameless(const char *const *environment)
{
    for (; environment && *environment; environment++) {
        if (**environment == '=' || !**environment) {
            return *environment;
        }
    }
    return NULL;
}

/* What is wrong with a setup; NULL when all is well. */
static const char *wrong_setup(const manta_command_setup *setup)
{
    const char *wrong = wrong_stream(&setup->out, false);
    wrong = wrong ? wrong : wrong_stream(&setup->err, true);
    for (size_t i = 0; i < MT_COUNT(setup->reserved); i++) {
        wrong = setup->reserved[i]
                    ? "reserved is not 0: make a setup with MANTA_COMMAND_SETUP, or zeroed"
                    : wrong;
    }
    if (wrong) {
        return wrong;
    }
    if (setup->environment_whole != 0 && setup->environment_whole != 1) {
        return "environment_whole must be 0 or 1";
    }
    if (setup->accept_codes != 0 && setup->accept_codes != 1) {
        return "accept_codes must be 0 or 1";
    }
    if (setup->input_bytes && !setup->input) {
        return "input is NULL, but input_bytes is not 0";
    }
    if (setup->input_bytes && setup->input_path) {
        return "input and input_path are both set";
    }
    if (setup->tail_bytes > MANTA_COMMAND_TAIL_MAX) {
        return "tail_bytes is more than MANTA_COMMAND_TAIL_MAX (16384)";
    }
    return setup->after_len && !setup->after ? "after is NULL, but after_len is not 0" : NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* NULL: memory is out, or more than a task can take, which is found out by its submission. */
static uint8_t *make_block(const char *const *argv, const manta_command_setup *setup, size_t size)
{
    uint8_t *block = size <= MANTA_INLINE_MAX ? base_alloc(size) : NULL;
    if (block) {
        (void)write_command(argv, setup, block);
    }
    return block;
}

static manta_ref submit(const manta_options *options, const char *const *argv,
                        const manta_command_setup *setup)
{
    manta_options named = options ? *options : (manta_options){.reserved = {0}};
    char name[MANTA_ERROR_NAME_MAX];
    manta_ref ref;
    size_t size =
        setup->input_bytes > MANTA_INLINE_MAX ? SIZE_MAX : write_command(argv, setup, NULL);
    uint8_t *block = make_block(argv, setup, size);
    if (!block) {
        struct context *context = context_enter();
        bool is_big = size > MANTA_INLINE_MAX;
        context_fail(context, is_big ? MANTA_E_TOOBIG : MANTA_E_NOMEM,
                     is_big ? "arguments, environment and input of %.40s take more than %d bytes: "
                              "give them in files (input_path)"
                            : "no memory for another submission of %.40s",
                     argv[0], MANTA_INLINE_MAX);
        return (manta_ref){0};
    }
    snprintf(name, sizeof name, "%s", base_name(argv[0]));
    named.name = named.name ? named.name : name;
    manta_slot slots[MT_COUNT(params)] = {
        [PARAM_WHAT] = {block, size},
        [PARAM_AFTER] = {(void *)(uintptr_t)setup->after, setup->after_len}};
    manta_submit(&function, &named, slots, &ref);
    base_free(block);
    return ref;
}

manta_ref manta_command(const manta_options *options, const char *const *argv,
                        const manta_command_setup *setup)
{
    static const manta_command_setup standard;
    struct context *context = context_enter();
    setup = setup ? setup : &standard;
    if (!context) {
        return (manta_ref){0};
    }
    const char *wrong = !argv || !argv[0] ? "argv is NULL or empty: its first is the program"
                        : !*argv[0]       ? "argv[0] is empty: it is the program"
                        : options && options->graph ? "a command cannot be recorded in a graph"
                                                    : wrong_setup(setup);
    if (wrong) {
        context_fail(context, MANTA_E_INVALID, "%s", wrong);
        return (manta_ref){0};
    }
    const char *entry = nameless(setup->environment);
    if (entry) {
        context_fail(context, MANTA_E_INVALID,
                     "environment has '%.80s', which has no name: write NAME=value to set a "
                     "variable, NAME to unset it",
                     entry);
        return (manta_ref){0};
    }
    return submit(options, argv, setup);
}

/* ---- Starting -------------------------------------------------------------------------------- */

static const char *take_text(struct wire_reader *reader)
{
    const char *text = (const char *)reader->at;
    const void *end = wire_left(reader) ? memchr(text, 0, wire_left(reader)) : NULL;
    if (!end) {
        reader->failed = true;
        return NULL;
    }
    return wire_take(reader, (size_t)((const char *)end - text) + 1);
}

static const char *const *take_texts(struct wire_reader *reader, const char **texts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = take_text(reader);
    }
    texts[count] = NULL;
    return texts;
}

static const char *take_path(struct wire_reader *reader)
{
    const char *path = take_text(reader);
    return path && *path ? path : NULL;
}

static struct spawn_stream take_stream(uint8_t to, const char *path)
{
    static const enum spawn_to ways[] = {
        [MANTA_STREAM_CAPTURED] = SPAWN_TO_LOG, [MANTA_STREAM_NOTHING] = SPAWN_TO_NOTHING,
        [MANTA_STREAM_FILE] = SPAWN_TO_FILE,    [MANTA_STREAM_APPEND] = SPAWN_TO_APPEND,
        [MANTA_STREAM_RANK] = SPAWN_TO_RANK,    [MANTA_STREAM_STDOUT] = SPAWN_TO_STDOUT};
    return (struct spawn_stream){to < MT_COUNT(ways) ? ways[to] : SPAWN_TO_LOG, path};
}

/* The block of a run; false when it is broken. */
static bool find_block(struct run *run, struct wire_reader *ret_reader)
{
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    if (!pack_next(&walk, &arg) || arg.index != PARAM_WHAT) {
        return false;
    }
    *ret_reader = wire_reader_init(arg.data, arg.bytes);
    return true;
}

static bool take_head(struct run *run, struct wire_reader *ret_reader,
                      struct command_head *ret_head)
{
    const void *bytes =
        find_block(run, ret_reader) ? wire_take(ret_reader, sizeof *ret_head) : NULL;
    if (bytes) {
        memcpy(ret_head, bytes, sizeof *ret_head);
    }
    return bytes && ret_head->argc && ret_head->argc <= wire_left(ret_reader) &&
           ret_head->envc <= wire_left(ret_reader);
}

/* texts has room for argc + envc + 2. False: the block is broken. */
static bool decode(struct outside *outside, struct wire_reader *reader,
                   const struct command_head *head, const char **texts,
                   struct spawn_command *ret_command)
{
    const struct run *run = outside->run;
    struct spawn_command command = {.id = run->id, .attempt = run->attempt};
    command.environment_kind =
        head->environment_whole ? SPAWN_ENVIRONMENT_WHOLE : SPAWN_ENVIRONMENT_ADD;
    command.argv = take_texts(reader, texts, head->argc);
    command.environment = take_texts(reader, texts + head->argc + 1, head->envc);
    command.directory = take_path(reader);
    command.input_path = take_path(reader);
    command.out = take_stream(head->out, take_path(reader));
    command.err = take_stream(head->err, take_path(reader));
    command.input_bytes = head->input_bytes;
    command.input = wire_take(reader, head->input_bytes);
    command.limits =
        (struct spawn_limits){.wall_ns = run->timeout_ns,
                              .memory_bytes = outside->terms.memory_bytes,
                              .grace_ns = head->grace_ns,
                              .output_bytes = head->output_bytes,
                              .tail_bytes = MT_MIN(head->tail_bytes, MANTA_COMMAND_TAIL_MAX)};
    *ret_command = command;
    return !reader->failed;
}

int command_start(struct outside *outside, const struct spawn_done *done, manta_error *ret_error)
{
    const struct core_processes *processes = outside->rank->outside.processes;
    struct wire_reader reader;
    struct command_head head;
    struct spawn_command command;
    if (!take_head(outside->run, &reader, &head)) {
        return MANTA_E_TYPE;
    }
    const char **texts = base_alloc(((size_t)head.argc + head.envc + 2) * sizeof *texts);
    if (!texts) {
        return MANTA_E_NOMEM;
    }
    int code = MANTA_E_TYPE;
    if (decode(outside, &reader, &head, texts, &command)) {
        outside->grace_ns = head.grace_ns;
        code = processes->command(processes->self, &command, done, &outside->handle, ret_error);
    }
    base_free(texts);
    return code;
}

/* ---- The result ------------------------------------------------------------------------------ */

static struct value *make_value(const struct outside *outside, const struct spawn_result *result)
{
    struct result_head head = {.magic = RESULT_MAGIC,
                               .exit_code = result->exit_code,
                               .pid = result->pid,
                               .rank = outside->rank->number,
                               .attempt = outside->run->attempt,
                               .out_tail_bytes = result->out_tail_bytes,
                               .err_tail_bytes = result->err_tail_bytes,
                               .task_id = outside->run->id,
                               .wall_ns = result->wall_ns,
                               .user_ns = result->user_ns,
                               .system_ns = result->system_ns,
                               .max_rss_bytes = result->max_rss_bytes,
                               .out_bytes = result->out_bytes,
                               .err_bytes = result->err_bytes,
                               .lost_bytes = result->lost_bytes};
    size_t size = sizeof head + head.out_tail_bytes + 1 + head.err_tail_bytes + 1;
    uint8_t *block = base_alloc(size), *at = block;
    if (!block) {
        return NULL;
    }
    wire_put_bytes(&at, &head, sizeof head);
    wire_put_bytes(&at, result->out_tail, head.out_tail_bytes);
    at++;
    wire_put_bytes(&at, result->err_tail, head.err_tail_bytes);
    const struct value_part part = {.data = block, .bytes = size};
    struct value *value = value_create(outside->rank, &part, 1, (manta_ref){0});
    base_free(block);
    return value;
}

int command_result(struct outside *outside, const struct spawn_result *result,
                   struct value **ret_value, char *text, size_t text_size)
{
    struct wire_reader reader;
    struct command_head head;
    bool is_accepted = result->end == SPAWN_ENDED_EXIT && result->exit_code != 0 &&
                       take_head(outside->run, &reader, &head) && head.accept_codes;
    if (result->error.code != MANTA_OK && !is_accepted) {
        return result->error.code;
    }
    *ret_value = make_value(outside, result);
    if (!*ret_value) {
        snprintf(text, text_size, "%s", exec_reason(MANTA_E_NOMEM));
    }
    return *ret_value ? MANTA_OK : MANTA_E_NOMEM;
}

int manta_command_read(const void *value, size_t bytes, manta_command_result *ret_result)
{
    struct result_head head;
    if (!value || !ret_result || bytes < sizeof head) {
        return value && ret_result ? MANTA_E_TYPE : MANTA_E_INVALID;
    }
    memcpy(&head, value, sizeof head);
    const char *out = (const char *)value + sizeof head;
    if (head.magic != RESULT_MAGIC ||
        bytes != sizeof head + (size_t)head.out_tail_bytes + head.err_tail_bytes + 2 ||
        out[head.out_tail_bytes] || out[bytes - sizeof head - 1]) {
        return MANTA_E_TYPE;
    }
    *ret_result = (manta_command_result){.exit_code = head.exit_code,
                                         .pid = head.pid,
                                         .rank = head.rank,
                                         .attempt = head.attempt,
                                         .task_id = head.task_id,
                                         .wall_ns = head.wall_ns,
                                         .user_ns = head.user_ns,
                                         .system_ns = head.system_ns,
                                         .max_rss_bytes = head.max_rss_bytes,
                                         .out_bytes = head.out_bytes,
                                         .err_bytes = head.err_bytes,
                                         .lost_bytes = head.lost_bytes,
                                         .out_tail = out,
                                         .err_tail = out + head.out_tail_bytes + 1,
                                         .out_tail_bytes = head.out_tail_bytes,
                                         .err_tail_bytes = head.err_tail_bytes};
    return MANTA_OK;
}

int manta_command_get(manta_ref ref, manta_command_result *ret_result)
{
    struct context *context = context_enter();
    const void *value;
    size_t bytes;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_result) {
        return context_fail(context, MANTA_E_INVALID, "ret_result is NULL");
    }
    int code = manta_view(ref, &value, &bytes);
    if (code == MANTA_OK && manta_command_read(value, bytes, ret_result) != MANTA_OK) {
        (void)manta_unview(ref);
        return context_fail(context, MANTA_E_TYPE,
                            "the ref is not a command's: its value has %zu "
                            "bytes and is no result of one",
                            bytes);
    }
    return code;
}
