/* The public calls: check what was given, find the context, take the baton, do it. */
#include "core/context.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/fetch.h"
#include "core/graph.h"
#include "core/idle.h"
#include "core/layout.h"
#include "core/lost.h"
#include "core/map.h"
#include "core/message.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/room.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/timeline.h"
#include "core/value.h"
#include "core/wait.h"

#include <stdio.h>

/* ---- Submitting ----------------------------------------------------------------------------- */

#define THROTTLE_NS UINT64_C(1000000000)

/* With too much unfinished, the submitter waits until less is. Tasks that submit are not held up
 * for longer than others need. */
static void throttle(struct context *context)
{
    struct rank *rank = context->rank;
    struct waiter waiter = {.missing = 1};
    base_list_push_back(&rank->throttled, &waiter.link);
    (void)wait_for(context, &waiter, base_deadline_after(base_now_ns(rank->host), THROTTLE_NS));
    base_list_remove(&waiter.link);
}

/* A way to submit without ever answering would let results pile up: every so often it also looks.
 */
static void after_submit(struct rank *rank)
{
    if (MT_UNLIKELY(++rank->submits_since_turn >= 32)) {
        rank->submits_since_turn = 0;
        (void)rank_turn(rank);
    } else {
        dispatch_pump(rank);
        dispatch_flush(rank);
    }
    idle_rouse(rank);
}

/* A submission that got no record: there is no ref that could carry the error. */
static MT_COLD void no_room(struct context *context, const manta_function *function)
{
    context_fail(context, MANTA_E_NOMEM,
                 "no memory for another submission of %s, or all positions of its parent are taken",
                 function->name);
}

static MT_COLD void refuse_submission(struct context *context, const manta_function *function,
                                      manta_ref *ret_refs)
{
    if (ret_refs) {
        uint32_t outputs = function ? function_info(function)->outputs : 1;
        memset(ret_refs, 0, MT_MAX(outputs, 1u) * sizeof *ret_refs);
    }
    if (context && (!ret_refs || !function)) {
        context_fail(context, MANTA_E_INVALID, "%s is NULL", function ? "ret_refs" : "function");
    } else if (context) {
        context_fail(context, MANTA_E_INVALID,
                     function_hash(function) ? "args is NULL for %s"
                                             : "the task %s is not registered",
                     function->name ? function->name : "(unnamed)");
    }
}

void manta_submit(manta_function *function, const manta_options *options, const manta_slot *args,
                  manta_ref *ret_refs)
{
    struct context *context = context_enter();
    if (MT_UNLIKELY(!ret_refs || !function || !context || !function_hash(function) ||
                    (!args && function->param_count))) {
        refuse_submission(context, function, ret_refs);
        return;
    }
    if (MT_UNLIKELY(options && options->graph)) {
        graph_record(function, options, args, ret_refs);
        return;
    }
    ret_refs->parent = 0;
    context_take(context);
    if (MT_UNLIKELY(dispatch_is_full(context->rank))) {
        throttle(context);
    }
    struct scope *scope = context_scope(context);
    if (MT_LIKELY(scope != NULL)) {
        task_submit(context->rank, scope, function, options, args, ret_refs);
        timeline_submit(context, function, ret_refs);
        after_submit(context->rank);
    }
    context_give(context);
    if (MT_UNLIKELY(!ret_refs->parent)) {
        memset(ret_refs, 0, function_info(function)->outputs * sizeof *ret_refs);
        no_room(context, function);
    }
}

manta_ref manta_map(manta_function *function, const manta_options *options, const manta_slot *args,
                    uint64_t count)
{
    struct context *context = context_enter();
    manta_ref ref = {0};
    if (!context || !function || !function_hash(function) || (!args && function->param_count)) {
        if (context) {
            context_fail(context, MANTA_E_INVALID, "%s",
                         function ? "args is NULL, or the task is not registered"
                                  : "function is NULL");
        }
        return ref;
    }
    if (options && options->graph) {
        context_fail(context, MANTA_E_INVALID, "a map cannot be recorded: record its tasks");
        return ref;
    }
    context_take(context);
    struct scope *scope = context_scope(context);
    if (scope) {
        ref = map_submit(context->rank, scope, function, options, args, count);
        timeline_submit(context, function, &ref);
        after_submit(context->rank);
    }
    context_give(context);
    if (MT_UNLIKELY(!ref.parent)) {
        no_room(context, function);
    }
    return ref;
}

/* ---- Results -------------------------------------------------------------------------------- */

int context_not_held(struct context *context, manta_ref ref)
{
    if (!ref.parent) {
        return context_fail(context, MANTA_E_INVALID,
                            "the ref is all zero: its submission was refused, or it was never set");
    }
    if (graph_is_edge(context->rank, ref)) {
        return context_fail(context, MANTA_E_INVALID,
                            "the ref is an edge of a graph, which has values in each launch: what "
                            "manta_graph_launch returns are refs");
    }
    return context_fail(
        context, MANTA_E_NOTFOUND,
        "the ref is not held here: it was dropped, its scope has ended, or it was never one");
}

static inline bool target_is_stored(const struct target *target)
{
    const struct object *object = target->object;
    return object->value && object->kind != OBJECT_MAP && object->value->stored_outputs &&
           object->value->output[target->output].is_stored;
}

/* NULL: it is not in a store. */
static const struct location *target_place(const struct target *target)
{
    return target_is_stored(target) ? &target->object->value->output[target->output].place : NULL;
}

static void copy_is_here(struct rank *rank, void *waiter, struct copy *copy)
{
    waiter_notify(rank, waiter, 0);
}

int fetch_output(struct context *context, struct output *output)
{
    struct rank *rank = context->rank;
    struct waiter waiter = {.context = context, .missing = 1};
    struct fetch_wait wait = {.over = copy_is_here, .arg = &waiter};
    int code = MANTA_E_NOMEM;
    base_list_init(&wait.link);
    struct copy *copy = fetch_begin(rank, &output->place, &wait, &code);
    if (copy) {
        code = copy->is_over ? MANTA_OK : wait_for(context, &waiter, BASE_FOREVER);
        base_list_remove(&wait.link);
        code = code ? code : copy->code;
    }
    if (code == MANTA_OK && !output->copy) {
        fetch_keep(rank, copy, output);
        return MANTA_OK;
    }
    fetch_drop(rank, copy);
    if (code == MANTA_E_LIMIT) {
        return room_refuse(context, output->place.bytes, "are to come from another node");
    }
    return code == MANTA_OK
               ? MANTA_OK
               : context_fail(context, code, "the value has %llu bytes on rank %u, on another node",
                              (unsigned long long)output->place.bytes, output->place.rank);
}

/* The bytes of a target that is done are here, and stay until they are unpinned. Baton held.
 * MANTA_E_AGAIN: while they were brought back the value was lost, and is another one. */
static int pin_value(struct context *context, const struct target *target)
{
    struct value *value = target->object->value;
    const struct location *of = target_place(target);
    if (!of) {
        return MANTA_OK;
    }
    value->sharers++;
    int code = pin_wait_for(context, of);
    if (MT_UNLIKELY(target->object->value != value)) {
        if (code == MANTA_OK) {
            pin_drop(context->rank, of);
        }
        code = MANTA_E_AGAIN;
    }
    value_unshare(context->rank, value);
    return code;
}

static int fetch_target(struct context *context, const struct target *target);

static inline int settle_target(struct context *context, const struct target *target)
{
    int code = wait_target(context, target, BASE_FOREVER);
    if (code != MANTA_OK) {
        context_fail(context, code, "waiting for a ref");
    } else if ((code = target_code(target)) != MANTA_OK) {
        target_error(context->rank, target, &context->last_error);
    } else if (MT_UNLIKELY(target_is_elsewhere(target))) {
        code = fetch_target(context, target);
    }
    return code;
}

/* While its bytes are on their way the value may be lost, and another one come in its place. */
static MT_NOINLINE int fetch_target(struct context *context, const struct target *target)
{
    struct value *value = target->object->value;
    value->sharers++;
    int code = fetch_output(context, &value->output[target->output]);
    bool is_replaced = target->object->value != value;
    value_unshare(context->rank, value);
    return is_replaced ? settle_target(context, target) : code;
}

/* A value that is lost meanwhile was never there: it is waited for again. */
static bool is_to_come_back(struct context *context, const struct target *target)
{
    struct object *object = target->object;
    if (!target_is_done(target)) {
        return true;
    }
    return object->code == MANTA_OK && target_is_stored(target) &&
           lost_note(context->rank, target_place(target));
}

static MT_COLD int settle_again(struct context *context, const struct target *target)
{
    int code = MANTA_E_LOST;
    while (code == MANTA_E_LOST && is_to_come_back(context, target)) {
        code = settle_target(context, target);
    }
    return code;
}

/* What is settled, also when its bytes turn out to be lost now. */
static int pin_settled(struct context *context, const struct target *target)
{
    int code = pin_value(context, target);
    while (MT_UNLIKELY(code == MANTA_E_AGAIN) ||
           (MT_UNLIKELY(code == MANTA_E_LOST) && is_to_come_back(context, target))) {
        code = settle_target(context, target);
        code = code ? code : pin_value(context, target);
    }
    return code;
}

/* Waits for a ref to be done and well. Baton held. */
static int settle(struct context *context, manta_ref ref, struct target *ret_target)
{
    struct target target = scope_target(context->rank, context_scope(context), ref);
    if (!target.object) {
        return context_not_held(context, ref);
    }
    object_hold(target.object);
    int code = settle_target(context, &target);
    if (MT_UNLIKELY(code == MANTA_E_LOST)) {
        code = settle_again(context, &target);
    }
    *ret_target = target;
    return code;
}

/* Much is copied without the baton; the object is held. */
MT_INLINE int copy_value(struct context *context, const struct target *target, void *value,
                         size_t size)
{
    struct content content = target_content(target);
    if (!layout_strip(&content) || content.bytes != size) {
        return context_fail(context, MANTA_E_TYPE, "the value has %llu bytes, %zu were asked for",
                            (unsigned long long)content.bytes, size);
    }
    if (size > MANTA_INLINE_MAX) {
        context_give(context);
        memcpy(value, content.data, size);
        context_take(context);
    } else if (size) {
        memcpy(value, content.data, size);
    }
    return MANTA_OK;
}

static MT_NOINLINE int copy_stored_value(struct context *context, const struct target *target,
                                         void *value, size_t size)
{
    int code = pin_settled(context, target);
    if (code == MANTA_OK) {
        const struct location *at = target_place(target);
        struct location of = at ? *at : (struct location){0}; /* after a death it is another */
        code = copy_value(context, target, value, size);
        if (at) {
            pin_drop(context->rank, &of);
        }
    }
    return code;
}

int manta_get(manta_ref ref, void *value, size_t size)
{
    struct context *context = context_enter();
    struct target target;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!value && size) {
        return context_fail(context, MANTA_E_INVALID, "value is NULL, but %zu bytes were asked for",
                            size);
    }
    context_take(context);
    target.object = NULL;
    int code = settle(context, ref, &target);
    if (code == MANTA_OK) {
        code = MT_UNLIKELY(target_is_stored(&target))
                   ? copy_stored_value(context, &target, value, size)
                   : copy_value(context, &target, value, size);
    }
    if (target.object) {
        object_drop(context->rank, target.object);
    }
    context_give(context);
    return code;
}

/* The refs inside a value that a scope looks at are held by that scope from then on. */
struct viewing {
    struct context *context;
    struct scope *scope;
    struct object *container;
};

static void hold_viewed(struct rank *rank, manta_ref ref, void *arg)
{
    struct viewing *viewing = arg;
    struct target target = target_find(rank, ref);
    if (!viewing->scope || scope_holds(rank, viewing->scope, ref, target.object)) {
        return;
    }
    struct object *object = target_hold(rank, ref, target);
    if (!object) {
        return;
    }
    if (object->kind == OBJECT_BORROW && !borrow_is_guarded(object_borrow(object))) {
        struct guard *guard = base_spares_take(&rank->spare_guards);
        if (guard) {
            guard->object = viewing->container;
            object_hold(viewing->container);
        }
        object_register(rank, object_borrow(object), guard);
    }
    if (scope_hold(viewing->scope, ref, object) != MANTA_OK) {
        object_drop(rank, object);
    }
}

static void hold_all_viewed(struct context *context, const struct target *target)
{
    struct viewing viewing = {context, context_scope(context), target->object};
    struct content content = target_content(target);
    for (uint64_t at = 0; content.is_refs && at < content.bytes; at += sizeof(manta_ref)) {
        manta_ref ref;
        memcpy(&ref, (const char *)content.data + at, sizeof ref);
        hold_viewed(context->rank, ref, &viewing);
    }
}

/* Of what is pinned. */
static int note_view(struct context *context, manta_ref ref, const struct target *target)
{
    const struct location *of = target_place(target);
    struct scope *scope = of ? context_scope(context) : NULL;
    return !of || (scope && pin_add_view(scope, ref, of) == MANTA_OK)
               ? MANTA_OK
               : context_fail(context, MANTA_E_NOMEM, "no memory for another view");
}

static int refuse_layout(struct context *context, const struct content *content,
                         const manta_layout *found, const manta_layout *expected)
{
    char is[LAYOUT_TEXT_MAX], should[LAYOUT_TEXT_MAX];
    if (content->is_typed) {
        return context_fail(context, MANTA_E_TYPE, "the value is %s; %s was asked for",
                            layout_text(found, is), layout_text(expected, should));
    }
    return context_fail(context, MANTA_E_TYPE,
                        "the value has %llu bytes and no layout; %s was asked for",
                        (unsigned long long)content->bytes, layout_text(expected, should));
}

/* What there is, if it is as expected; expected may be NULL. */
static int inspect(struct context *context, const struct target *target,
                   const manta_layout *expected, manta_array *ret_array)
{
    struct content content = target_content(target);
    manta_layout layout;
    uint64_t bytes;
    if (!layout_of_content(&content, expected, &layout, &bytes)) {
        return context_fail(context, MANTA_E_TYPE, "the value's layout is damaged");
    }
    if (expected && !layout_matches(&layout, expected)) {
        return refuse_layout(context, &content, &layout, expected);
    }
    *ret_array = (manta_array){content.data, bytes / layout.item_bytes, layout};
    return MANTA_OK;
}

static int view(struct context *context, manta_ref ref, const manta_layout *expected,
                manta_array *ret_array)
{
    struct target target = {.object = NULL};
    context_take(context);
    int code = settle(context, ref, &target);
    code = code ? code : pin_settled(context, &target);
    if (code == MANTA_OK) {
        code = inspect(context, &target, expected, ret_array);
        code = code ? code : note_view(context, ref, &target);
        if (code != MANTA_OK) {
            const struct location *of = target_place(&target);
            if (of) {
                pin_drop(context->rank, of);
            }
        }
    }
    if (code == MANTA_OK) {
        hold_all_viewed(context, &target);
        struct scope *scope = context_scope(context);
        if (scope) {
            scope->views++;
        }
    }
    if (target.object) {
        object_drop(context->rank, target.object);
    }
    context_give(context);
    return code;
}

int manta_view(manta_ref ref, const void **ret_data, size_t *ret_bytes)
{
    struct context *context = context_enter();
    manta_array array;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_data || !ret_bytes) {
        return context_fail(context, MANTA_E_INVALID, "%s is NULL",
                            ret_data ? "ret_bytes" : "ret_data");
    }
    int code = view(context, ref, NULL, &array);
    if (code == MANTA_OK) {
        *ret_data = array.data;
        *ret_bytes = array.count * array.layout.item_bytes;
    }
    return code;
}

int manta_array_view(manta_ref ref, const manta_layout *expected, manta_array *ret_array)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    return ret_array ? view(context, ref, expected, ret_array)
                     : context_fail(context, MANTA_E_INVALID, "ret_array is NULL");
}

int manta_unview(manta_ref ref)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    context_take(context);
    struct target target = scope_target(context->rank, context_scope(context), ref);
    struct scope *scope = context_scope(context);
    int code = MANTA_OK;
    if (!target.object) {
        code = context_not_held(context, ref);
    } else if (!scope || !scope->views) {
        code = context_fail(context, MANTA_E_STATE, "the ref is not viewed in this scope");
    } else {
        scope->views--;
        pin_end_view(context->rank, scope, ref);
    }
    context_give(context);
    return code;
}

int manta_ref_error(manta_ref ref, manta_error *ret_error)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_error) {
        return context_fail(context, MANTA_E_INVALID, "ret_error is NULL");
    }
    context_take(context);
    struct target target = scope_target(context->rank, context_scope(context), ref);
    int code = MANTA_OK;
    if (!target.object) {
        code = context_not_held(context, ref);
    } else if (!target_is_done(&target)) {
        code = context_fail(context, MANTA_E_AGAIN, "the ref is not ready yet");
    } else if (target_code(&target) == MANTA_OK) {
        code = context_fail(context, MANTA_E_STATE, "the ref has a value, not an error");
    } else {
        target_error(context->rank, &target, ret_error);
    }
    context_give(context);
    return code;
}

/* ---- Waiting for several -------------------------------------------------------------------- */

static int name_duplicate(struct context *context, const manta_ref *refs, size_t i)
{
    size_t before = 0;
    while (refs[before].parent != refs[i].parent || refs[before].position != refs[i].position) {
        before++;
    }
    return context_fail(context, MANTA_E_INVALID,
                        "refs[%zu] and refs[%zu] are the same ref; each may be waited for once",
                        before, i);
}

static int refuse_duplicates(struct context *context, const manta_ref *refs, size_t n)
{
    struct base_map seen = {0};
    int code = base_map_reserve(&seen, n);
    for (size_t i = 0; i < n && code == MANTA_OK; i++) {
        code = base_map_insert(&seen, (struct base_key){refs[i].parent, refs[i].position}, context);
        if (code == MANTA_OK && seen.count == i) {
            code = name_duplicate(context, refs, i);
        }
    }
    if (code == MANTA_E_NOMEM) {
        context_fail(context, code, "no memory to wait for %zu refs", n);
    }
    base_map_fini(&seen);
    return code;
}

static size_t count_ready(const struct target *targets, size_t n, uint8_t *ret_ready)
{
    size_t ready = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_done = target_is_done(&targets[i]);
        ready += is_done;
        if (ret_ready) {
            ret_ready[i] = is_done;
        }
    }
    return ready;
}

static void mark_exactly(uint8_t *ready, size_t n, size_t k)
{
    for (size_t i = 0; ready && i < n; i++) {
        if (ready[i] && k) {
            k--;
        } else {
            ready[i] = 0;
        }
    }
}

static int wait_some(struct context *context, const struct target *targets, struct watch *watches,
                     size_t n, size_t k, uint64_t deadline_ns)
{
    struct waiter waiter = {.context = context, .targets = targets, .target_count = n};
    size_t ready = count_ready(targets, n, NULL);
    int code = MANTA_OK;
    if (ready >= k) {
        return MANTA_OK;
    }
    waiter.missing = (uint32_t)(k - ready);
    for (size_t i = 0; i < n; i++) {
        watches[i] = (struct watch){.kind = WATCH_WAITER, .target = &waiter};
        if (!target_is_done(&targets[i]) &&
            !target_watch(context->rank, &targets[i], &watches[i])) {
            code = MANTA_E_NOMEM;
        }
    }
    code = code == MANTA_OK ? wait_for(context, &waiter, deadline_ns) : code;
    for (size_t i = 0; i < n; i++) {
        if (!target_is_done(&targets[i])) {
            target_unwatch(context->rank, &targets[i], &watches[i]);
        }
    }
    return code;
}

static int wait_refs(struct context *context, const manta_ref *refs, size_t n, size_t k,
                     uint64_t timeout_ns, uint8_t *ret_ready)
{
    struct rank *rank = context->rank;
    struct target *targets = base_alloc((n + 1) * sizeof *targets);
    struct watch *watches = base_alloc((n + 1) * sizeof *watches);
    size_t found = 0;
    int code = targets && watches
                   ? MANTA_OK
                   : context_fail(context, MANTA_E_NOMEM, "no memory to wait for %zu refs", n);
    for (; code == MANTA_OK && found < n; found++) {
        targets[found] = scope_target(rank, context_scope(context), refs[found]);
        if (!targets[found].object) {
            code = context_not_held(context, refs[found]);
            break;
        }
        object_hold(targets[found].object);
    }
    if (code == MANTA_OK) {
        uint64_t deadline_ns = timeout_ns == MANTA_FOREVER
                                   ? BASE_FOREVER
                                   : base_deadline_after(base_now_ns(rank->host), timeout_ns);
        (void)rank_turn(rank);
        code = wait_some(context, targets, watches, n, k, deadline_ns);
        size_t ready = count_ready(targets, n, ret_ready);
        if (ready > k) {
            mark_exactly(ret_ready, n, k);
        }
        if (code != MANTA_OK) {
            context_fail(context, code, "%zu of %zu refs were ready, %zu were asked for", ready, n,
                         k);
        }
    }
    for (size_t i = 0; i < found; i++) {
        object_drop(rank, targets[i].object);
    }
    base_free(targets);
    base_free(watches);
    return code;
}

int manta_wait(const manta_ref *refs, size_t n, size_t k, uint64_t timeout_ns, uint8_t *ret_ready)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (n == 0 && k == 0) {
        return MANTA_OK;
    }
    if (!refs || k > n || n > UINT32_MAX) {
        return context_fail(context, MANTA_E_INVALID,
                            refs ? "%zu of %zu refs cannot become ready" : "refs is NULL", k, n);
    }
    int code = refuse_duplicates(context, refs, n);
    if (code != MANTA_OK) {
        return code;
    }
    context_take(context);
    code = wait_refs(context, refs, n, k, timeout_ns, ret_ready);
    context_give(context);
    return code;
}

/* ---- Maps ----------------------------------------------------------------------------------- */

manta_ref manta_map_at(manta_ref map, uint64_t index)
{
    struct context *context = context_enter();
    manta_ref ref = {0};
    if (!context) {
        return ref;
    }
    context_take(context);
    struct target target = scope_target(context->rank, context_scope(context), map);
    if (target.object && index < UINT32_MAX - map.position &&
        (target.object->kind == OBJECT_BORROW ||
         (target.object->kind == OBJECT_MAP && index < object_task(target.object)->map->count))) {
        ref = map;
        ref.position += (uint32_t)index + 1;
    }
    context_give(context);
    return ref;
}

static int take_map(struct context *context, manta_ref ref, struct task **ret_task)
{
    struct target target = scope_target(context->rank, context_scope(context), ref);
    if (!target.object) {
        return context_not_held(context, ref);
    }
    if (target.object->kind != OBJECT_MAP || target.element >= 0) {
        return context_fail(context, MANTA_E_TYPE,
                            "the ref is not a map's, or the map was submitted on another rank");
    }
    *ret_task = object_task(target.object);
    return MANTA_OK;
}

int manta_map_progress(manta_ref ref, uint64_t *ret_done)
{
    struct context *context = context_enter();
    struct task *task = NULL;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_done) {
        return context_fail(context, MANTA_E_INVALID, "ret_done is NULL");
    }
    context_take(context);
    (void)rank_turn(context->rank);
    int code = take_map(context, ref, &task);
    if (code == MANTA_OK) {
        *ret_done = task->map->done;
    }
    context_give(context);
    return code;
}

static int copy_map(struct context *context, const struct map *map, void *values, size_t size,
                    uint64_t count, int32_t *codes)
{
    if (count != map->count || size != map->element_bytes) {
        return context_fail(context, MANTA_E_TYPE,
                            "the map has %llu values of %u bytes; %llu of %zu were asked for",
                            (unsigned long long)map->count, map->element_bytes,
                            (unsigned long long)count, size);
    }
    if (size && count) {
        memcpy(values, map->values, count * size);
    }
    for (uint64_t i = 0; codes && i < count; i++) {
        codes[i] = map_element_code(map, i);
    }
    return MANTA_OK;
}

int manta_map_get(manta_ref ref, void *values, size_t size, uint64_t count, int32_t *codes)
{
    struct context *context = context_enter();
    struct target target = {0};
    struct task *task = NULL;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!values && size && count) {
        return context_fail(context, MANTA_E_INVALID, "values is NULL");
    }
    context_take(context);
    int code = take_map(context, ref, &task);
    if (code == MANTA_OK) {
        code = settle(context, ref, &target);
        bool fits = count == task->map->count && size == task->map->element_bytes;
        if (target_is_done(&target) &&
            (fits || code == MANTA_OK)) { /* one that was refused has no values to fit */
            int copied = copy_map(context, task->map, values, size, count, codes);
            code = copied == MANTA_OK ? code : copied;
        }
        object_drop(context->rank, target.object);
    }
    context_give(context);
    return code;
}
