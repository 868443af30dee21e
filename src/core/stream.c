/* The owner's side of a stream, and the shelf that source and inbox have in common. The story is in
 * stream.h. */
#include "core/stream.h"

#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/recover.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/value.h"

#include <stdio.h>
#include <string.h>

enum { AHEAD_DEFAULT = 64, SHELF_FIRST = 16 };

/* ---- Shelves -------------------------------------------------------------------------------- */

static bool grow(struct shelf *shelf)
{
    uint32_t capacity = shelf->capacity ? shelf->capacity * 2 : SHELF_FIRST;
    struct shelf larger = {.items = base_alloc(capacity * sizeof(struct item)),
                           .capacity = capacity,
                           .begin = shelf->begin,
                           .end = shelf->end};
    if (!larger.items) {
        return false;
    }
    for (uint64_t i = shelf->begin; i < shelf->end; i++) {
        *shelf_at(&larger, i) = *shelf_at(shelf, i);
    }
    base_free(shelf->items);
    *shelf = larger;
    return true;
}

bool shelf_push(struct shelf *shelf, struct item item)
{
    if (shelf->end - shelf->begin == shelf->capacity && !grow(shelf)) {
        return false;
    }
    *shelf_at(shelf, shelf->end++) = item;
    return true;
}

void shelf_release(struct rank *rank, const struct shelf *shelf, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct item *item = shelf_at(shelf, i);
        value_unshare(rank, item->value);
        if (item->token) {
            task_release_runner(rank, item->rank, item->token);
        }
    }
}

/* ---- Records -------------------------------------------------------------------------------- */

static struct stream *stream_of(const struct task *task)
{
    return task->extra ? task->extra->stream : NULL;
}

bool stream_create(struct rank *rank, struct task *task, const manta_options *options)
{
    struct task_extra *extra = task_get_extra(rank, task);
    struct stream *stream = extra ? base_alloc(sizeof *stream) : NULL;
    if (!stream) {
        return false;
    }
    stream->task = task;
    stream->ahead = options && options->ahead ? options->ahead : AHEAD_DEFAULT;
    stream->ahead_bytes = options ? (uint64_t)options->ahead_kib * 1024 : 0;
    stream->reader_rank = STREAM_NOBODY;
    base_list_push_back(&rank->streams, &stream->link);
    extra->stream = stream;
    task->object.is_stream = 1;
    return true;
}

void stream_destroy(struct rank *rank, struct stream *stream)
{
    if (stream) {
        base_list_remove(&stream->link);
        base_free(stream);
    }
}

/* ---- What it tells -------------------------------------------------------------------------- */

static struct wire_header about_task(const struct task *task, uint32_t token)
{
    return (struct wire_header){.parent = task->parent,
                                .position = task->position,
                                .token = token,
                                .attempt = task->attempt};
}

/* One that runs again for its children only has nobody to yield to. */
static void send_terms(struct rank *rank, struct task *task, uint32_t run_token)
{
    const struct stream *stream = stream_of(task);
    bool is_for_children = task->object.is_done && task->flags & TASK_RERUN;
    struct message_terms terms = {.from = is_for_children ? STREAM_UNKNOWN : stream->from,
                                  .ahead_bytes = stream->ahead_bytes,
                                  .ahead = stream->ahead,
                                  .reader = is_for_children ? STREAM_NOBODY : stream->reader_rank};
    if (!comm_is_down(rank->comm, task->exec_rank)) {
        message_tell(rank, task->exec_rank, MESSAGE_TERMS, about_task(task, run_token), &terms,
                     sizeof terms);
    }
}

static void send_end(struct rank *rank, uint32_t peer, const struct wire_header *about,
                     uint64_t count, const manta_error *error)
{
    struct message_ended message = {.count = count, .code = error ? error->code : MANTA_OK};
    if (peer == rank->number) {
        inbox_ended(rank, about, &message, error);
        return;
    }
    size_t size = sizeof message + (error ? wire_error_bytes(error) : 0);
    uint8_t *out = comm_is_down(rank->comm, peer)
                       ? NULL
                       : message_begin(rank, peer, MESSAGE_ENDED, about, size);
    if (out) {
        wire_put_bytes(&out, &message, sizeof message);
        if (error) {
            wire_error_write(error, out);
        }
        message_end(rank);
    }
}

static void refuse(struct rank *rank, uint32_t peer, const struct wire_header *about, int code,
                   const char *text)
{
    manta_error error = {.code = code, .rank = rank->number};
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    snprintf(error.text, sizeof error.text, "%s", text);
    send_end(rank, peer, about, STREAM_UNKNOWN, &error);
}

void stream_answer_lost(struct rank *rank, uint32_t peer, const struct wire_header *header)
{
    refuse(rank, peer, header, MANTA_E_LOST,
           "the stream's owner does not know it any more, and nobody will run its task again");
}

/* Of one that failed, the items before its last failure can still be had from its source. */
static void tell_reader(struct rank *rank, struct task *task)
{
    const struct stream *stream = stream_of(task);
    struct target target = {.object = &task->object, .element = -1};
    struct wire_header about = about_task(task, 0);
    uint64_t count = STREAM_UNKNOWN;
    if (stream->reader_rank == STREAM_NOBODY) {
        return;
    }
    if (task->object.code == MANTA_OK) {
        memcpy(&count, task->small + CORE_SMALL_BYTES, sizeof count);
        send_end(rank, stream->reader_rank, &about, count, NULL);
        return;
    }
    manta_error error;
    target_error(rank, &target, &error);
    if (task->exec_token && stream->failed_attempt == task->attempt) {
        count = stream->failed_at;
    }
    send_end(rank, stream->reader_rank, &about, count, &error);
}

void stream_ended(struct rank *rank, struct task *task)
{
    struct stream *stream = stream_of(task);
    if (stream) {
        stream->is_complete = task->exec_token == 0;
        tell_reader(rank, task);
    }
}

void stream_unheld(struct rank *rank, struct task *task)
{
    cancel_task(rank, task);
}

/* ---- Again from the beginning --------------------------------------------------------------- */

static void release_source(struct rank *rank, struct task *task)
{
    if (task->exec_token) {
        task_release_runner(rank, task->exec_rank, task->exec_token);
        task->exec_token = 0;
    }
}

/* The reader wants items that are gone. The run that is under way, if there is one, is stopped. */
static void restart(struct rank *rank, struct task *task)
{
    struct stream *stream = stream_of(task);
    if (task->flags & TASK_ONCE) {
        task_fail(rank, task, MANTA_E_LOST,
                  "the stream's reader ran again, and the task may not (option retries)");
        struct wire_header about = about_task(task, 0);
        refuse(rank, stream->reader_rank, &about, MANTA_E_LOST,
               "its first items are gone, and the stream's task may not run twice (option "
               "retries)");
        return;
    }
    bool is_out = task->state == TASK_SENT;
    release_source(rank, task);
    if (task->object.is_done) {
        task_undo(rank, task);
    }
    stream->is_complete = 0;
    if (is_out) {
        cancel_run_of(rank, task);
    }
    task_restart(rank, task);
    dispatch_pump(rank);
}

static bool has_source(struct rank *rank, const struct task *task)
{
    const struct stream *stream = stream_of(task);
    bool is_there = task->object.is_done ? task->exec_token != 0
                                         : task->state == TASK_SENT && stream->run_token &&
                                               stream->open_attempt == task->attempt;
    return is_there && !comm_is_down(rank->comm, task->exec_rank);
}

/* ---- Messages in ---------------------------------------------------------------------------- */

void stream_on_open(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct task *task = task_find_sent(rank, from, header);
    struct stream *stream = task && task->object.kind ? stream_of(task) : NULL; /* 0: it is gone */
    struct message_open message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes || !stream || task->attempt != header->attempt ||
        (task->state != TASK_SENT && !task->exec_token)) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (message.what == OPEN_BEGUN) {
        stream->open_attempt = task->attempt;
        stream->run_token = message.run_token;
        send_terms(rank, task, message.run_token);
    } else if (message.what == OPEN_FAILED) {
        stream->failed_attempt = task->attempt;
        stream->failed_at = message.count;
    } else if (message.what == OPEN_REWIND && stream->run_token == message.run_token) {
        restart(rank, task);
    }
}

static void note_complete(struct rank *rank, struct task *task, uint64_t reader)
{
    struct stream *stream = stream_of(task);
    if (stream->reader == reader && task->object.is_done) {
        stream->is_complete = 1;
        release_source(rank, task);
    }
}

/* A reader that asks for the first time, or again because it, or who knew of it, has died. */
static void serve(struct rank *rank, struct task *task)
{
    struct stream *stream = stream_of(task);
    if (has_source(rank, task)) {
        send_terms(rank, task, task->object.is_done ? task->exec_token : stream->run_token);
    } else if (task->object.is_done && task->object.code == MANTA_OK) {
        uint64_t count;
        memcpy(&count, task->small + CORE_SMALL_BYTES, sizeof count);
        if (stream->from < count) {
            restart(rank, task);
            return;
        }
    }
    if (task->object.is_done) {
        tell_reader(rank, task);
    }
}

void stream_on_read(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct scope *scope = scope_find(rank, header->parent);
    struct target target = {.element = -1};
    struct message_read message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (!scope || !scope_resolve(rank, scope, header->position, &target)) {
        if (!recover_park_request(rank, from, header, &message, sizeof message)) {
            stream_answer_lost(rank, from, header);
        }
        return;
    }
    struct task *task = object_task(target.object);
    struct stream *stream = target.element < 0 ? stream_of(task) : NULL;
    if (!stream) {
        refuse(rank, from, header, MANTA_E_TYPE,
               "the ref is not a stream: its task has no parameter stream(T, x)");
    } else if (stream->reader && stream->reader != message.reader) {
        refuse(rank, from, header, MANTA_E_STATE,
               "another task or thread reads this stream: a stream has one reader");
    } else if (message.from == STREAM_UNKNOWN) {
        note_complete(rank, task, message.reader);
    } else {
        stream->reader = message.reader;
        stream->reader_rank = from;
        stream->from = message.from;
        serve(rank, task);
    }
}

/* ---- Deaths --------------------------------------------------------------------------------- */

/* It had ended there, and not everything has reached the reader. */
static void lose_source(struct rank *rank, struct task *task, uint32_t dead)
{
    if (task->object.code != MANTA_OK) {
        task->exec_token = 0;
        tell_reader(rank, task);
        return;
    }
    task_undo(rank, task);
    task_run_lost(rank, task, dead);
}

void stream_peer_down(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->streams, link)
    {
        struct stream *stream = MT_CONTAINER(link, struct stream, link);
        struct task *task = stream->task;
        stream->reader_rank = stream->reader_rank == dead ? STREAM_NOBODY : stream->reader_rank;
        if (task->object.is_done && task->exec_rank == dead && task->exec_token &&
            !stream->is_complete) {
            lose_source(rank, task, dead);
        }
    }
}
