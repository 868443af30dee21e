/*
 * Maps, the owner's side.
 *
 * A map is one record with a value array. Indices are leased to ranks in batches that
 * shrink towards the end (sched_map_batch); a lease is a TASK message with a range and
 * counts as one task in the rank's window. Results come in chunks and may come twice
 * (after a rank was taken for dead): the bit of an index decides, first come wins.
 * Failed indices keep their error record, all others cost their value and one bit.
 */
#include "core/map.h"

#include "core/board.h"
#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/inputs.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/task.h"

#include <stdio.h>

enum { BATCH_MAX = 16384 };

struct range {
    struct base_list link;
    uint64_t begin, count, done;
    uint32_t rank;
    uint32_t deaths; /* of ranks that are to its account */
    uint32_t losses; /* and of others, or nobody knows; more than none: it is watched */
    bool has_begun;  /* the runner has said so */
};

static struct base_key index_key(uint64_t index)
{
    return (struct base_key){index, 0};
}

/* ---- Elements ------------------------------------------------------------------------------- */

bool map_element_is_done(const struct map *map, uint64_t index)
{
    return map->is_done[index / 64] >> (index % 64) & 1;
}

static const manta_error out_of_memory = {.code = MANTA_E_NOMEM,
                                          .text = "no memory for this run's error record"};

const manta_error *map_element_error(const struct map *map, uint64_t index)
{
    if (!(map->is_failed[index / 64] >> (index % 64) & 1)) {
        return NULL;
    }
    const manta_error *error = base_map_find(&map->failed, index_key(index));
    return error ? error : &out_of_memory;
}

int map_element_code(const struct map *map, uint64_t index)
{
    const manta_error *error = map_element_error(map, index);
    return error ? error->code : MANTA_OK;
}

struct content map_element_content(const struct map *map, int64_t index)
{
    uint64_t first = index < 0 ? 0 : (uint64_t)index;
    uint64_t bytes = index < 0 ? map->count * map->element_bytes : map->element_bytes;
    return (struct content){.data = map->values + first * map->element_bytes, .bytes = bytes};
}

bool map_element_watch(struct rank *rank, struct task *task, uint64_t index, struct watch *watch)
{
    struct map *map = task->map;
    watch->next = base_map_find(&map->watchers, index_key(index));
    return base_map_insert(&map->watchers, index_key(index), watch) == 0;
}

void map_element_unwatch(struct task *task, uint64_t index, struct watch *watch)
{
    struct watch *head = base_map_remove(&task->map->watchers, index_key(index));
    struct watch **at = &head;
    while (*at && *at != watch) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = watch->next;
    }
    if (head && base_map_insert(&task->map->watchers, index_key(index), head) != 0) {
        head = NULL; /* cannot happen: a slot has just been freed */
    }
}

static void keep_error(struct map *map, uint64_t index, const manta_error *error)
{
    manta_error *copy = base_alloc(sizeof *copy);
    map->is_failed[index / 64] |= UINT64_C(1) << (index % 64);
    map->failures++;
    if (copy) {
        *copy = *error;
        if (base_map_insert(&map->failed, index_key(index), copy) != 0) {
            base_free(copy);
        }
    }
}

static void finish_element(struct rank *rank, struct map *map, uint64_t index,
                           const manta_error *error)
{
    rank->has_failures |= error != NULL;
    map->is_done[index / 64] |= UINT64_C(1) << (index % 64);
    map->done++;
    if (error) {
        keep_error(map, index, error);
    }
    if (MT_UNLIKELY(map->watchers.count)) {
        watchers_fire(rank, base_map_remove(&map->watchers, index_key(index)));
    }
}

/* ---- Making and ending ---------------------------------------------------------------------- */

static void free_ranges(struct base_list *list)
{
    struct base_list *link;
    while ((link = base_list_pop_front(list))) {
        base_free(MT_CONTAINER(link, struct range, link));
    }
}

static void free_errors(struct map *map)
{
    uint32_t at = 0;
    struct base_key key;
    void *error;
    while (base_map_next(&map->failed, &at, &key, &error)) {
        base_free(error);
    }
    base_map_fini(&map->failed);
}

void map_free(struct rank *rank, struct task *task)
{
    struct map *map = task->map;
    pack_block_free(rank, task->args, task->args_bytes);
    if (!map) {
        task->scope->children--;
        return;
    }
    free_errors(map);
    free_ranges(&map->returned);
    free_ranges(&map->failing);
    free_ranges(&map->leases);
    base_map_fini(&map->watchers);
    base_map_fini(&map->retries);
    base_free(map->values);
    base_free(map->is_done);
    rank->maps_live--;
    base_list_remove(&map->all);
    scope_leave_map(rank, task->scope, map);
    base_free(map);
}

static struct map *make_map(struct rank *rank, struct task *task, uint64_t count)
{
    struct map *map = base_alloc(sizeof *map);
    uint32_t bytes = function_info(task->function)->single_bytes;
    for (uint32_t i = 0; !bytes && i < task->function->param_count; i++) {
        bytes =
            task->function->params[i].kind == MANTA_KIND_OUT ? task->function->params[i].size : 0;
    }
    if (!map) {
        return NULL;
    }
    map->element_bytes = bytes;
    map->values = base_alloc_aligned(16, MT_ALIGN_UP(MT_MAX(count * bytes, 1u), (uint64_t)16));
    map->is_done = base_alloc(2 * (count / 64 + 1) * sizeof *map->is_done);
    if (!map->values || !map->is_done) {
        base_free(map->values);
        base_free(map->is_done);
        base_free(map);
        return NULL;
    }
    map->is_failed = map->is_done + count / 64 + 1;
    map->task = task;
    map->count = count;
    base_list_init(&map->returned);
    base_list_init(&map->failing);
    base_list_init(&map->leases);
    base_list_push_back(&task->scope->maps, &map->link);
    base_list_push_back(&rank->maps, &map->all);
    rank->maps_live++;
    return map;
}

static int check_function(const manta_function *function, uint64_t count, char *text, size_t size)
{
    for (uint32_t i = 0; i < function->param_count; i++) {
        uint32_t kind = function->params[i].kind;
        if (kind == MANTA_KIND_INOUT || kind == MANTA_KIND_OUTV || kind == MANTA_KIND_OUTREFS ||
            kind == MANTA_KIND_STREAM) {
            snprintf(
                text, size,
                "parameter %s is inout, outv, outrefs or a stream; a mapped task has at most one "
                "output, an out",
                function->params[i].name);
            return MANTA_E_TYPE;
        }
    }
    if (function_info(function)->value_outputs > 1) {
        snprintf(text, size, "the task has %u outputs; a mapped task has at most one",
                 function_info(function)->value_outputs);
        return MANTA_E_TYPE;
    }
    if (count > UINT32_MAX / 2) {
        snprintf(text, size, "%llu runs were asked for; one map holds at most %u",
                 (unsigned long long)count, UINT32_MAX / 2);
        return MANTA_E_LIMIT;
    }
    return MANTA_OK;
}

manta_ref map_submit(struct rank *rank, struct scope *scope, manta_function *function,
                     const manta_options *options, const manta_slot *args, uint64_t count)
{
    char text[MANTA_ERROR_TEXT_MAX] = "";
    int code;
    int wrong = check_function(function, count, text, sizeof text);
    struct task *survivor =
        scope->is_taken_over && !wrong ? recover_resubmit(rank, scope, function) : NULL;
    if (survivor) {
        return task_ref(rank, survivor, 0);
    }
    count = wrong ? 0 : count;
    struct task *task =
        task_create(rank, scope, function, options, map_positions(count), text, sizeof text, &code);
    if (!task) {
        return (manta_ref){0};
    }
    task->outputs = 1;
    task->flags |= TASK_IS_MAP;
    task->object.kind = OBJECT_MAP;
    manta_ref ref = task_ref(rank, task, 0);
    code = wrong ? wrong : code;
    if (code == MANTA_OK && outside_is_task(task)) {
        code = MANTA_E_INVALID;
        snprintf(text, sizeof text,
                 "option isolated is 1, but a map cannot be isolated: submit its runs one by one");
    }
    task->map = make_map(rank, task, count);
    if (!task->map) { /* then nothing finds it by a ref: it cannot carry the error */
        task_fail(rank, task, MANTA_E_NOMEM, "no memory for the values of a map");
        object_drop(rank, &task->object);
        return (manta_ref){0};
    }
    if (MT_UNLIKELY(scope->may_be_borrowed)) {
        recover_note_record(rank, scope, task);
        recover_answer_lookups(rank, scope, task);
    }
    if (code != MANTA_OK) {
        task_fail(rank, task, code, "%s", text[0] ? text : manta_error_text(code));
        return ref;
    }
    task_start_map(rank, scope, task, args);
    return ref;
}

/* ---- Leasing -------------------------------------------------------------------------------- */

static struct range *make_range(uint64_t begin, uint64_t count)
{
    struct range *range = base_alloc(sizeof *range);
    if (range) {
        *range = (struct range){.begin = begin, .count = count};
        base_list_init(&range->link);
    }
    return range;
}

/* What failed comes last: meanwhile the reason may have gone. */
static struct range *next_range(struct rank *rank, struct map *map)
{
    uint32_t slots = rank->size * rank->worker_count;
    bool is_fresh = base_list_is_empty(&map->returned) && map->next < map->count;
    if (!is_fresh) {
        struct base_list *link = base_list_pop_front(&map->returned);
        link = link ? link : base_list_pop_front(&map->failing);
        return link ? MT_CONTAINER(link, struct range, link) : NULL;
    }
    uint64_t count = sched_map_batch(map->count - map->next, slots, BATCH_MAX);
    struct range *range = make_range(map->next, count);
    map->next += range ? count : 0;
    return range;
}

static bool has_more(const struct map *map)
{
    return map->next < map->count || !base_list_is_empty(&map->returned) ||
           !base_list_is_empty(&map->failing);
}

static void enqueue(struct rank *rank, struct task *task)
{
    if (!task->map->is_queued && has_more(task->map)) {
        task->map->is_queued = 1;
        dispatch_add(rank, task);
    }
}

static void run_here(struct rank *rank, struct task *task, const struct range *range)
{
    bool has_inputs = function_info(task->function)->inputs_awaited;
    struct inputs inputs;
    if (has_inputs) {
        inputs_find(rank, task, &inputs);
    }
    struct run *run = exec_make_local(rank, task, has_inputs ? &inputs : NULL);
    task->run = NULL;
    if (run) {
        object_hold(&task->object);
        run->map_begin = range->begin;
        run->map_count = range->count;
        exec_queue(rank, run);
    }
}

void map_lease(struct rank *rank, struct peer *peer, struct task *task)
{
    struct map *map = task->map;
    if (MT_UNLIKELY(task_awaits_again(rank, task))) {
        map->is_queued = 0;
        dispatch_remove(rank, task);
        task_start_again(rank, task);
        return;
    }
    struct range *range = next_range(rank, map);
    if (!range || !has_more(map)) {
        map->is_queued = 0;
        dispatch_remove(rank, task);
    }
    if (!range) {
        if (map->done < map->count && base_list_is_empty(&map->leases)) {
            task_fail(rank, task, MANTA_E_NOMEM, "no memory to lease a part of the map");
        }
        return;
    }
    range->rank = peer->number;
    range->done = 0;
    range->has_begun = false;
    base_list_push_back(&map->leases, &range->link);
    dispatch_place(rank, peer);
    if (peer->number == rank->number) {
        run_here(rank, task, range);
    } else {
        struct message_lease lease = {range->begin, range->count};
        bool is_watched = range->losses && !board_is_lit(rank, peer->number);
        dispatch_send_lease(rank, peer, task, &lease, is_watched ? TASK_MESSAGE_WATCHED : 0);
    }
}

/* ---- Results -------------------------------------------------------------------------------- */

static struct range *find_lease(struct map *map, uint32_t where, uint64_t index)
{
    BASE_LIST_EACH(&map->leases, link)
    {
        struct range *range = MT_CONTAINER(link, struct range, link);
        if (range->rank == where && index - range->begin < range->count) {
            return range;
        }
    }
    return NULL;
}

/* A failed index goes back to be leased again, if it may. */
static bool try_again(struct rank *rank, struct task *task, uint64_t index)
{
    struct map *map = task->map;
    uintptr_t tried = (uintptr_t)base_map_find(&map->retries, index_key(index));
    if (!(task->flags & TASK_RETRY_ERRORS) || tried >= (uintptr_t)MT_MAX(task->retries_left, 0)) {
        return false;
    }
    struct range *range = make_range(index, 1);
    if (!range || base_map_insert(&map->retries, index_key(index), (void *)(tried + 1)) != 0) {
        base_free(range);
        return false;
    }
    base_list_push_back(&map->failing, &range->link);
    rank->stats.retried++;
    return true;
}

static void take_element(struct rank *rank, struct task *task, uint64_t index, const void *value,
                         const manta_error *error)
{
    struct map *map = task->map;
    if (index >= map->count || map_element_is_done(map, index)) {
        return;
    }
    if (error && try_again(rank, task, index)) {
        return;
    }
    if (!error && map->element_bytes) {
        memcpy(map->values + index * map->element_bytes, value, map->element_bytes);
    }
    finish_element(rank, map, index, error);
}

static const manta_error *first_failure(const struct map *map)
{
    for (uint64_t i = 0; map->failures && i < map->count; i++) {
        const manta_error *error = map_element_error(map, i);
        if (error) {
            return error;
        }
    }
    return NULL;
}

static void finish_if_done(struct rank *rank, struct task *task)
{
    struct map *map = task->map;
    if (map->done < map->count || task->object.is_done) {
        return;
    }
    const manta_error *first = first_failure(map);
    manta_error *error = first ? base_alloc(sizeof *error) : NULL;
    if (error) {
        *error = *first;
    }
    task_complete(rank, task, first ? first->code : MANTA_OK, NULL, error);
}

/* Chunk: u32 failures, that many {u64 index, record}; then values of all indices of the chunk in
 * order. */
static void take_chunk(struct rank *rank, struct task *task, struct message_lease chunk,
                       struct wire_reader *body)
{
    uint64_t failed_index = UINT64_MAX;
    uint32_t failures = wire_get_u32(body);
    const uint8_t *values = wire_take(body, chunk.count * task->map->element_bytes);
    manta_error *error = NULL;
    for (uint64_t i = 0; values && i < chunk.count; i++) {
        if (failures && failed_index == UINT64_MAX) {
            failed_index = wire_get_u64(body);
            error = wire_error_read(body);
            failures--;
        }
        bool is_failed = failed_index == chunk.begin + i;
        take_element(rank, task, chunk.begin + i, values + i * task->map->element_bytes,
                     is_failed ? (error ? error : &out_of_memory) : NULL);
        if (is_failed) {
            base_free(error);
            error = NULL;
            failed_index = UINT64_MAX;
        }
    }
    base_free(error);
}

static void end_chunk(struct rank *rank, struct task *task, struct range *lease, uint64_t count)
{
    lease->done += count;
    if (lease->done >= lease->count) {
        base_list_remove(&lease->link);
        base_free(lease);
    }
    enqueue(rank, task);
    finish_if_done(rank, task);
}

void map_note_begun(struct task *task, uint32_t from, uint64_t begin)
{
    struct range *lease = task->map ? find_lease(task->map, from, begin) : NULL;
    if (lease) {
        lease->has_begun = true;
    }
}

void map_on_result(struct rank *rank, struct task *task, uint32_t from,
                   const struct message_result *result, struct wire_reader *body)
{
    struct message_lease chunk;
    const void *bytes = wire_take(body, sizeof chunk);
    struct map *map = task->map;
    if (!bytes || !map || task->object.is_done) {
        return;
    }
    memcpy(&chunk, bytes, sizeof chunk);
    object_hold(&task->object);
    struct range *lease = find_lease(map, from, chunk.begin);
    if (lease && result->flags & RESULT_UNSTARTED) {
        base_list_remove(&lease->link);
        base_list_push_back(&map->returned, &lease->link);
        enqueue(rank, task);
    } else if (lease && chunk.count <= lease->count) {
        take_chunk(rank, task, chunk, body);
        end_chunk(rank, task, lease, chunk.count);
    }
    object_drop(rank, &task->object);
}

void map_lose_chunk(struct rank *rank, struct task *task, uint64_t begin, uint64_t count)
{
    struct range *lease = task->object.is_done ? NULL : find_lease(task->map, rank->number, begin);
    if (!lease) {
        return;
    }
    object_hold(&task->object);
    for (uint64_t i = begin; i < begin + count; i++) {
        take_element(rank, task, i, NULL, &out_of_memory);
    }
    end_chunk(rank, task, lease, count);
    object_drop(rank, &task->object);
}

/* ---- Giving up ------------------------------------------------------------------------------ */

static void fail_range(struct rank *rank, struct task *task, const struct range *range,
                       const manta_error *error)
{
    for (uint64_t i = range->begin; i < range->begin + range->count; i++) {
        if (!map_element_is_done(task->map, i)) {
            finish_element(rank, task->map, i, error);
        }
    }
}

void map_cancel(struct rank *rank, struct task *task)
{
    struct map *map = task->map;
    manta_error error = {
        .code = MANTA_E_CANCELLED, .rank = rank->number, .text = "the map was cancelled"};
    struct range all = {.begin = 0, .count = map->count};
    task_describe(task, &error);
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    if (map->is_queued) {
        map->is_queued = 0;
        dispatch_remove(rank, task);
    }
    map->next = map->count;
    cancel_leases_here(rank, task);
    BASE_LIST_EACH(&map->leases, link)
    {
        uint32_t where = MT_CONTAINER(link, struct range, link)->rank;
        if (where != rank->number) {
            dispatch_stop_lease(rank, task, where);
        }
    }
    fail_range(rank, task, &all, &error);
    finish_if_done(rank, task);
}

void map_close(struct rank *rank, struct task *task, int code, const manta_error *error)
{
    struct map *map = task->map;
    manta_error bare = {.code = code};
    struct range all = {.begin = 0, .count = map->count};
    if (map->is_queued) {
        map->is_queued = 0;
        dispatch_remove(rank, task);
    }
    map->next = map->count;
    fail_range(rank, task, &all, error ? error : &bare);
}

/* ---- After a death -------------------------------------------------------------------------- */

static void return_range(struct rank *rank, struct map *map, struct range *range)
{
    base_list_push_back(&map->returned, &range->link);
    rank->stats.retried++;
}

/* Chunks come in order, so what is done is at the front. */
static void trim(const struct map *map, struct range *range)
{
    while (range->count && map_element_is_done(map, range->begin)) {
        range->begin++;
        range->count--;
    }
}

static struct range *part_of(const struct range *range, uint64_t begin, uint64_t count)
{
    struct range *part = make_range(begin, count);
    if (part) {
        part->deaths = range->deaths;
        part->losses = range->losses;
    }
    return part;
}

/* Leaves of the range the one index that the dead rank was in; what is before and behind it goes
 * back as it is. False: memory is out, and the range is as it was. */
static bool single_out(struct rank *rank, struct map *map, struct range *range, uint64_t index)
{
    uint64_t before = index - range->begin, behind = range->count - before - 1;
    struct range *first = before ? part_of(range, range->begin, before) : NULL;
    struct range *last = behind ? part_of(range, index + 1, behind) : NULL;
    if ((before && !first) || (behind && !last)) {
        base_free(first);
        base_free(last);
        return false;
    }
    if (first) {
        return_range(rank, map, first);
    }
    if (last) {
        return_range(rank, map, last);
    }
    range->begin = index;
    range->count = 1;
    return true;
}

static void give_range_up(struct rank *rank, struct task *task, struct range *range, uint32_t where)
{
    manta_error error = {.code = MANTA_E_CRASH, .rank = where};
    task_describe(task, &error);
    error.attempt = MT_MAX(range->deaths, 1u);
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    snprintf(error.text, sizeof error.text,
             task->flags & TASK_ONCE
                 ? "rank %u died, where this index was, and it may not run twice (option retries)"
                 : "rank %u died while it ran this index; no attempt is left",
             where);
    fail_range(rank, task, range, &error);
    base_free(range);
}

/* The index that the rank died in, as far as is known. One that is watched sends each result before
 * the next index begins. Where nobody can see, the whole range pays in the end. */
static bool find_guilty(struct rank *rank, const struct task *task, const struct range *range,
                        uint32_t where, uint64_t *ret_index)
{
    *ret_index = range->begin;
    if (board_is_lit(rank, where)) {
        return board_find_element(rank, where, task, range->begin, range->count, ret_index);
    }
    return range->has_begun;
}

static void lose_range(struct rank *rank, struct task *task, struct range *range, uint32_t where)
{
    uint64_t index;
    trim(task->map, range);
    if (range->count == 0) {
        base_free(range);
        return;
    }
    if (find_guilty(rank, task, range, where, &index)) {
        (void)single_out(rank, task->map, range, index);
        range->deaths++;
    } else if (!board_is_lit(rank, where)) {
        range->losses++;
        range->deaths += range->losses >= BOARD_DARK_MAX;
    }
    if (task->flags & TASK_ONCE || (int)range->deaths > task->retries_left) {
        give_range_up(rank, task, range, where);
    } else {
        return_range(rank, task->map, range);
    }
}

void map_rank_lost(struct rank *rank, struct task *task, uint32_t where)
{
    struct map *map = task->map;
    object_hold(&task->object);
    BASE_LIST_EACH(&map->leases, link)
    {
        struct range *range = MT_CONTAINER(link, struct range, link);
        if (range->rank == where) {
            base_list_remove(&range->link);
            lose_range(rank, task, range, where);
        }
    }
    enqueue(rank, task);
    finish_if_done(rank, task);
    object_drop(rank, &task->object);
}
