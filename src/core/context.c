/*
 * Contexts: what the calling thread is to the library. A body's lives in its worker's stack; an
 * attached thread and a thread that the library has never seen each have one of their own, with a
 * root scope and a place to sleep.
 */
#include "core/context.h"

#include "core/scope.h"
#include "core/task.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static MT_TLS void *context_slot;
static _Atomic(struct rank *) process_rank; /* whose root scope threads without a context use */
static _Atomic uint64_t process_start;      /* counts the ranks that this process has had */
static struct context *isolated;            /* of the only thread of an isolated task's child */
static bool is_isolated_refused;
static pthread_key_t foreign_key;
static pthread_once_t foreign_once = PTHREAD_ONCE_INIT;
static pthread_key_t error_key; /* of a thread, while no rank runs */
static pthread_once_t error_once = PTHREAD_ONCE_INIT;

/* A context of a thread, driver's or foreign: with its own place to sleep. */
struct thread_context {
    struct context context;
    uint64_t start; /* process_start when it was last used */
    struct sleeper sleeper;
};

struct context *context_get(void)
{
    return context_slot;
}

void context_set(struct context *context)
{
    context_slot = context;
}

void **core_context_slot(void)
{
    return &context_slot;
}

void context_set_isolated(struct context *context)
{
    isolated = context;
    is_isolated_refused = false;
}

bool context_was_refused(void)
{
    return is_isolated_refused;
}

struct context *context_of_body(void)
{
    return context_slot ? context_slot : isolated;
}

static struct context *make_thread_context(struct rank *rank)
{
    struct thread_context *own = base_alloc_aligned(16, sizeof *own);
    if (!own) {
        return NULL;
    }
    base_list_init(&own->sleeper.idle);
    own->context.rank = rank;
    own->context.sleeper = &own->sleeper;
    return &own->context;
}

static void make_foreign_key(void)
{
    (void)pthread_key_create(&foreign_key, base_free);
}

static void make_error_key(void)
{
    (void)pthread_key_create(&error_key, base_free);
}

static pthread_key_t outside_key(void)
{
    pthread_once(&error_once, make_error_key);
    return error_key;
}

/* NULL: memory is out. */
static manta_error *outside_error(void)
{
    manta_error *error = pthread_getspecific(outside_key());
    if (!error && (error = base_alloc(sizeof *error)) &&
        pthread_setspecific(error_key, error) != 0) {
        base_free(error);
        error = NULL;
    }
    return error;
}

/* The slot may point to a context of a rank that has ended: the process's current one decides. */
static struct context *enter_foreign(void)
{
    struct rank *rank = atomic_load_explicit(&process_rank, memory_order_acquire);
    if (MT_UNLIKELY(isolated != NULL)) {
        is_isolated_refused = true;
        return NULL;
    }
    if (!rank) {
        return NULL;
    }
    pthread_once(&foreign_once, make_foreign_key);
    struct context *context = pthread_getspecific(foreign_key);
    if (!context) {
        context = make_thread_context(rank);
        if (context && pthread_setspecific(foreign_key, context) != 0) {
            base_free(context);
            return NULL;
        }
    }
    struct thread_context *own = MT_CONTAINER(context, struct thread_context, context);
    uint64_t start = atomic_load_explicit(&process_start, memory_order_relaxed);
    if (context && own->start != start) {
        own->start = start;
        context->rank = rank;
        context->root = NULL;
    }
    return context;
}

static MT_COLD struct context *enter_rarely(struct context *context)
{
    if (!context) {
        return enter_foreign();
    }
    context_fail(context, MANTA_E_STATE, "%s", CONTEXT_LEAF_TEXT);
    return NULL;
}

struct context *context_enter(void)
{
    struct context *context = context_slot;
    return MT_LIKELY(context && !context->leaf) ? context : enter_rarely(context);
}

int core_attach(struct rank *rank)
{
    struct context *context = make_thread_context(rank);
    if (!context) {
        return MANTA_E_NOMEM;
    }
    context->root = &rank->root;
    context_set(context);
    return MANTA_OK;
}

void core_detach(struct rank *rank)
{
    base_free(context_slot);
    context_set(NULL);
}

void core_set_process_rank(struct rank *rank)
{
    atomic_fetch_add_explicit(&process_start, 1, memory_order_relaxed);
    atomic_store_explicit(&process_rank, rank, memory_order_release);
}

struct scope *context_scope(struct context *context)
{
    if (context->run) {
        return scope_of_run(context->rank, context->run);
    }
    if (MT_UNLIKELY(!context->root || scope_is_used_up(context->root))) {
        context->root = scope_create_root(context->rank);
    }
    return context->root;
}

int context_fail(struct context *context, int code, const char *format, ...)
{
    manta_error *error = &context->last_error;
    va_list args;
    *error = (manta_error){.code = code, .rank = context->rank->number};
    snprintf(error->host, sizeof error->host, "%s", context->rank->options.host_name);
    if (context->run) {
        function_describe(context->run->function, context->run->name, error);
        error->task_id = context->run->id;
        error->attempt = context->run->attempt;
    }
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return code;
}

bool core_is_isolated(void)
{
    return isolated != NULL;
}

int core_fail_outside(int code, const char *format, ...)
{
    struct context *context = context_enter();
    manta_error *error = context ? &context->last_error : outside_error();
    if (error) {
        va_list args;
        *error = (manta_error){.code = code};
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return code;
}

const manta_error *manta_last_error(void)
{
    static const manta_error none = {.code = MANTA_E_STATE,
                                     .text = "Manta does not run in this process: call manta_run "
                                             "or manta_init first, and not after its end"};
    static const manta_error alone = {.code = MANTA_E_STATE, .text = CONTEXT_ISOLATED_TEXT};
    if (isolated) {
        return is_isolated_refused ? &alone : &isolated->last_error;
    }
    struct context *context = context_slot ? context_slot : enter_foreign();
    const manta_error *outside = context ? NULL : pthread_getspecific(outside_key());
    return context ? &context->last_error : outside ? outside : &none;
}

void core_work(uint64_t duration_ns)
{
    struct context *context = context_get();
    const struct base_host *host = context ? context->rank->host : &base_host_real;
    host->work(host->self, duration_ns);
}
