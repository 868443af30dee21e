/*
 * Leases of a map, the executor's side: results are gathered without the baton and handed over in
 * chunks, when a chunk is full or a tick has passed, so that long runs show progress and short ones
 * cost no message each.
 */
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/map.h"
#include "core/message.h"
#include "core/scope.h"
#include "core/task.h"

#include <stdio.h>

static const manta_error out_of_memory = {.code = MANTA_E_NOMEM,
                                          .text = "no memory for this run's error record"};

enum { CHUNK_BYTES = 16384, CHUNK_ELEMENTS = 4096 };

struct failed_element {
    struct failed_element *next;
    uint64_t index;
    manta_error error;
};

struct lease_results {
    uint64_t begin, count; /* the chunk being gathered */
    uint64_t limit;        /* elements in a full one */
    uint32_t element_bytes;
    uint32_t tick; /* when it was begun */
    struct failed_element *failed, **failed_end;
    uint32_t failures, bare_count;
    uint64_t bare[CHUNK_ELEMENTS /
                  64]; /* bit by element: it failed, and there was no memory for a record */
    uint8_t values[];
};

static uint32_t output_bytes(const manta_function *function)
{
    for (uint32_t i = 0; i < function->param_count; i++) {
        if (function->params[i].kind == MANTA_KIND_OUT) {
            return function->params[i].size;
        }
    }
    return 0;
}

static void next_chunk(struct rank *rank, struct lease_results *results, uint64_t begin)
{
    results->begin = begin;
    results->count = 0;
    results->tick = atomic_load_explicit(&rank->ticks, memory_order_relaxed);
    results->failed = NULL;
    results->failed_end = &results->failed;
    results->failures = results->bare_count = 0;
    memset(results->bare, 0, sizeof results->bare);
}

struct lease_results *map_results_begin(struct rank *rank, struct run *run)
{
    uint32_t bytes = output_bytes(run->function);
    uint64_t limit = MT_MAX(CHUNK_BYTES / MT_MAX(bytes, 1u), 1u);
    limit = run->is_watched ? 1 : MT_MIN(MT_MIN(limit, (uint64_t)CHUNK_ELEMENTS), run->map_count);
    struct lease_results *results = base_alloc(sizeof *results + limit * bytes);
    if (results) {
        results->limit = limit;
        results->element_bytes = bytes;
        next_chunk(rank, results, run->map_begin);
    }
    return results;
}

static void add_failure(struct lease_results *results, uint64_t index, const manta_error *error)
{
    struct failed_element *failed = base_alloc(sizeof *failed);
    results->failures++;
    if (failed) {
        failed->index = index;
        failed->error = error ? *error : out_of_memory;
        *results->failed_end = failed;
        results->failed_end = &failed->next;
    } else {
        results->bare[results->count / 64] |= UINT64_C(1) << (results->count % 64);
        results->bare_count++;
    }
}

bool map_results_add(struct rank *rank, struct run *run, struct lease_results *results, int code,
                     const manta_slot *slots, const manta_error *error)
{
    const manta_function *function = run->function;
    if (code != MANTA_OK) {
        add_failure(results, run->map_index, error);
    }
    for (uint32_t i = 0; i < function->param_count; i++) {
        if (function->params[i].kind == MANTA_KIND_OUT && slots[i].data) {
            memcpy(results->values + results->count * results->element_bytes, slots[i].data,
                   results->element_bytes);
        }
    }
    results->count++;
    return results->count == results->limit ||
           atomic_load_explicit(&rank->ticks, memory_order_relaxed) != results->tick;
}

static size_t chunk_bytes(const struct lease_results *results)
{
    size_t size = sizeof(struct message_result) + sizeof(struct message_lease) + 4 +
                  results->count * results->element_bytes +
                  results->bare_count * (8 + wire_error_bytes(&out_of_memory));
    for (struct failed_element *failed = results->failed; failed; failed = failed->next) {
        size += 8 + wire_error_bytes(&failed->error);
    }
    return size;
}

static uint8_t *write_failure(uint8_t *out, uint64_t index, const manta_error *error)
{
    wire_put_u64(&out, index);
    wire_error_write(error, out);
    return out + wire_error_bytes(error);
}

static void write_chunk(const struct lease_results *results, uint8_t *out)
{
    struct message_lease chunk = {results->begin, results->count};
    wire_put_bytes(&out, &chunk, sizeof chunk);
    wire_put_u32(&out, results->failures);
    wire_put_bytes(&out, results->values, results->count * results->element_bytes);
    const struct failed_element *failed = results->failed;
    for (uint64_t i = 0; results->failures && i < results->count; i++) {
        if (failed && failed->index == results->begin + i) {
            out = write_failure(out, failed->index, &failed->error);
            failed = failed->next;
        } else if (results->bare[i / 64] >> (i % 64) & 1) {
            out = write_failure(out, results->begin + i, &out_of_memory);
        }
    }
}

static void send_chunk(struct rank *rank, struct run *run, const struct lease_results *results,
                       bool is_last)
{
    struct message_result result = {.flags = RESULT_LEASE, .run_token = run->index};
    struct wire_header about = {.parent = run->parent,
                                .position = run->position,
                                .token = run->token,
                                .attempt = run->attempt};
    result.flags |= is_last && !run->is_credited ? 0 : RESULT_CREDITED;
    result.flags |= rank->ready_count == 0 ? RESULT_DRY : 0;
    uint8_t *out = message_begin(rank, run->owner, MESSAGE_RESULT, &about, chunk_bytes(results));
    if (out) {
        wire_put_bytes(&out, &result, sizeof result);
        write_chunk(results, out);
        message_end(rank);
    }
}

static void give_chunk(struct rank *rank, struct run *run, const struct lease_results *results,
                       bool is_last)
{
    if (!run->task) {
        if (!run->is_orphan) {
            send_chunk(rank, run, results, is_last);
        }
        return;
    }
    size_t size = chunk_bytes(results) - sizeof(struct message_result);
    uint8_t *bytes = base_alloc(size);
    if (bytes) {
        struct message_result result = {.flags = RESULT_LEASE};
        struct wire_reader reader = wire_reader_init(bytes, size);
        write_chunk(results, bytes);
        map_on_result(rank, run->task, rank->number, &result, &reader);
        base_free(bytes);
    } else {
        map_lose_chunk(rank, run->task, results->begin, results->count);
    }
}

static void free_failures(struct lease_results *results)
{
    while (results->failed) {
        struct failed_element *next = results->failed->next;
        base_free(results->failed);
        results->failed = next;
    }
}

void map_results_send(struct rank *rank, struct run *run, struct lease_results *results)
{
    uint64_t end = results->begin + results->count;
    bool is_last = end == run->map_begin + run->map_count;
    if (results->count) {
        give_chunk(rank, run, results, is_last);
    }
    if (MT_UNLIKELY(run->is_watched)) {
        exec_push(rank);
    }
    free_failures(results);
    next_chunk(rank, results, end);
}

void map_results_end(struct rank *rank, struct run *run, struct lease_results *results)
{
    map_results_send(rank, run, results);
    base_free(results);
}

/* A lease that could not even start: each of its runs fails. */
static void fail_lease(struct rank *rank, struct run *run, int code)
{
    manta_error error = {.code = code, .rank = rank->number, .attempt = run->attempt};
    struct lease_results *results = map_results_begin(rank, run);
    function_describe(run->function, run->name, &error);
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    bool is_said = run->error && run->error->code == code;
    snprintf(error.text, sizeof error.text, "%s",
             is_said ? run->error->text : manta_error_text(code));
    for (uint64_t i = 0; results && i < run->map_count; i++) {
        manta_slot slots[MANTA_PARAM_MAX] = {0};
        run->map_index = run->map_begin + i;
        if (map_results_add(rank, run, results, code, slots, &error)) {
            map_results_send(rank, run, results);
        }
    }
    if (results) {
        map_results_end(rank, run, results);
    } else if (run->task) {
        map_lose_chunk(rank, run->task, run->map_begin, run->map_count);
    } else {
        comm_mark_down(rank->comm, run->owner); /* as when there is no memory for a message */
    }
}

void map_lease_done(struct rank *rank, struct run *run, int code)
{
    struct scope *scope = run->scope;
    if (code != MANTA_OK) {
        fail_lease(rank, run, code);
    }
    if (run->task && !run->is_credited) {
        dispatch_credit(rank, rank->number, LANE_WORKERS, rank->ready_count == 0);
    }
    if (run->task) {
        object_drop(rank, &run->task->object);
    }
    run->scope = NULL;
    if (scope) {
        scope_drop_all(rank, scope);
        scope_end(rank, scope);
    }
    exec_run_free(rank, run);
}
