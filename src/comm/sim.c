/*
 * The simulator's heart: events in virtual time.
 *
 * Everything that happens is an event in one heap, ordered by (time, a drawn number,
 * serial). The drawn number shuffles what happens at the same time; the serial makes
 * the order total. One event is executed at a time, to its end: a thread's turn lasts
 * until the thread sleeps, yields or ends, and takes no virtual time. Virtual time
 * passes only between events. All drawn numbers come from one generator in the order
 * of execution, so the seed determines the run; the hash over all events proves it.
 */
#include "base/alloc.h"
#include "base/map.h"
#include "comm/sim_world.h"
#include "manta/error.h"

#define DELAY_MIN_NS 1000u
#define DELAY_MAX_NS 20000u
#define DETECT_MIN_NS 10000u
#define DETECT_MAX_NS 5000000u
#define SILENCE_NS 2000000u
#define LEAVE_NS 1000000u
#define WINDOW 256u
#define TIME_LIMIT_NS UINT64_C(3600000000000)
#define STACK_BYTES (64u << 10)

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
uint64_t sim_random(struct sim *sim)
{
    uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_draw(struct sim *sim, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)sim_random(sim) * n) >> 64);
}

uint64_t sim_between(struct sim *sim, uint64_t min, uint64_t max)
{
    return min + sim_draw(sim, max - min + 1);
}

void sim_note(struct sim *sim, uint64_t word)
{
    sim->hash = base_mix64(sim->hash ^ word) + UINT64_C(0x9e3779b97f4a7c15);
}

int sim_grow(void *array, uint32_t *capacity, size_t size)
{
    uint32_t wanted = *capacity ? 2 * *capacity : 16;
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = base_realloc(old, *capacity * size, wanted * size);
    if (!grown) {
        return MANTA_E_NOMEM;
    }
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return 0;
}

static bool before(const struct sim_event *x, const struct sim_event *y)
{
    if (x->time_ns != y->time_ns) {
        return x->time_ns < y->time_ns;
    }
    return x->tie != y->tie ? x->tie < y->tie : x->serial < y->serial;
}

void sim_push(struct sim *sim, uint64_t time_ns, enum sim_kind kind, uint32_t a, uint32_t b,
              struct sim_way *way)
{
    if (sim->heap_count == sim->heap_capacity &&
        sim_grow(&sim->heap, &sim->heap_capacity, sizeof *sim->heap)) {
        sim->out_of_memory = true;
        return;
    }
    struct sim_event event = {.time_ns = MT_MAX(time_ns, sim->now_ns),
                              .tie = sim_random(sim),
                              .serial = sim->serial++,
                              .kind = kind,
                              .a = a,
                              .b = b,
                              .way = way};
    uint32_t hole = sim->heap_count++;
    while (hole && before(&event, &sim->heap[(hole - 1) / 2])) {
        sim->heap[hole] = sim->heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    sim->heap[hole] = event;
}

static struct sim_event pop(struct sim *sim)
{
    struct sim_event *heap = sim->heap, first = heap[0], last = heap[--sim->heap_count];
    uint32_t hole = 0, count = sim->heap_count;
    for (uint32_t child; (child = 2 * hole + 1) < count; hole = child) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!before(&heap[child], &last)) {
            break;
        }
        heap[hole] = heap[child];
    }
    heap[hole] = last;
    return first;
}

static void set_defaults(struct sim_options *options)
{
    if (!options->delay_max_ns) {
        options->delay_min_ns = DELAY_MIN_NS;
        options->delay_max_ns = DELAY_MAX_NS;
    }
    if (!options->detect_max_ns) {
        options->detect_min_ns = DETECT_MIN_NS;
        options->detect_max_ns = DETECT_MAX_NS;
    }
    options->silence_ns = options->silence_ns ? options->silence_ns : SILENCE_NS;
    options->leave_ns = options->leave_ns ? options->leave_ns : LEAVE_NS;
    options->window = options->window ? options->window : WINDOW;
    options->time_limit_ns = options->time_limit_ns ? options->time_limit_ns : TIME_LIMIT_NS;
    options->stack_bytes = options->stack_bytes ? options->stack_bytes : STACK_BYTES;
}

static int init_ranks(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->options.ranks; i++) {
        struct sim_rank *rank = &sim->ranks[i];
        rank->sim = sim;
        rank->index = i;
        rank->alive = true;
        sim_host_init(rank);
        int rc = sim_end_init(rank);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

struct sim *sim_create(const struct sim_options *options)
{
    struct sim *sim = base_alloc(sizeof *sim);
    if (!sim) {
        return NULL;
    }
    sim->options = *options;
    set_defaults(&sim->options);
    sim->random = options->seed;
    sim->pool = fiber_pool_create(sim->options.stack_bytes, 0);
    sim->ranks = base_alloc_aligned(MT_CACHE_LINE, options->ranks * sizeof *sim->ranks);
    if (!sim->pool || !sim->ranks || init_ranks(sim)) {
        sim_destroy(sim);
        return NULL;
    }
    return sim;
}

static void free_threads(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->thread_count; i++) {
        fiber_release(sim->threads[i]->base);
        base_free(sim->threads[i]);
    }
    base_free(sim->threads);
}

void sim_destroy(struct sim *sim)
{
    if (!sim) {
        return;
    }
    free_threads(sim);
    for (uint32_t i = 0; sim->ranks && i < sim->options.ranks; i++) {
        sim_end_fini(&sim->ranks[i]);
    }
    fiber_pool_destroy(sim->pool);
    base_free(sim->ranks);
    base_free(sim->heap);
    base_free(sim->hooks);
    base_free(sim);
}

struct comm *sim_comm(struct sim *sim, uint32_t rank)
{
    return &sim->ranks[rank].comm;
}

const struct base_host *sim_host(struct sim *sim, uint32_t rank)
{
    return &sim->ranks[rank].host;
}

int sim_start(struct sim *sim, uint32_t rank, void (*main)(void *), void *arg)
{
    struct sim_thread *thread;
    return sim_thread_create(&sim->ranks[rank], main, arg, &thread);
}

int sim_at(struct sim *sim, uint64_t time_ns, void (*hook)(void *), void *arg)
{
    if (sim->hook_count == sim->hook_capacity) {
        int rc = sim_grow(&sim->hooks, &sim->hook_capacity, sizeof *sim->hooks);
        if (rc) {
            return rc;
        }
    }
    sim->hooks[sim->hook_count] = (struct sim_hook){.call = hook, .arg = arg};
    sim_push(sim, time_ns, SIM_HOOK, sim->hook_count++, 0, NULL);
    return sim->out_of_memory ? MANTA_E_NOMEM : 0;
}

void sim_set_switch_hook(struct sim *sim, void **slot)
{
    sim->switch_slot = slot;
}

static void execute(struct sim *sim, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_TURN:
        sim_thread_turn(sim, sim->threads[event->a]);
        break;
    case SIM_DEADLINE:
        sim_thread_deadline(sim, sim->threads[event->a], event->b);
        break;
    case SIM_ARRIVAL:
        sim_arrive(sim, event->way);
        break;
    case SIM_ROOM:
        sim_room(sim, event->way);
        break;
    case SIM_DEATH:
        sim_hear_death(sim, &sim->ranks[event->a], event->b);
        break;
    case SIM_JUDGE:
        sim_judge(sim, &sim->ranks[event->a]);
        break;
    case SIM_LINE_END:
        sim_see_line_end(sim, &sim->ranks[event->a]);
        break;
    case SIM_FENCED:
        sim_hear_fence(sim, &sim->ranks[event->a]);
        break;
    case SIM_ALONE:
        sim_miss_first(sim, &sim->ranks[event->a]);
        break;
    case SIM_FORCE:
        sim_kill(sim, event->a);
        break;
    case SIM_HOOK: {
        struct sim_hook hook = sim->hooks[event->a];
        hook.call(hook.arg);
        break;
    }
    }
}

static void note_event(struct sim *sim, const struct sim_event *event)
{
    sim->event_count++;
    sim_note(sim, event->time_ns);
    sim_note(sim, (uint64_t)event->kind << 56 ^ (uint64_t)event->a << 28 ^ event->b);
    if (event->way) {
        sim_note(sim, (uint64_t)event->way->from->index << 32 | event->way->to->index);
    }
}

static int run_events(struct sim *sim)
{
    while (sim->live_threads) {
        if (sim->out_of_memory) {
            return MANTA_E_NOMEM;
        }
        if (!sim->heap_count) {
            return MANTA_E_DEADLOCK;
        }
        struct sim_event event = pop(sim);
        if (event.time_ns >= sim->options.time_limit_ns) {
            return MANTA_E_TIMEOUT;
        }
        sim->now_ns = event.time_ns;
        note_event(sim, &event);
        execute(sim, &event);
    }
    return 0;
}

int sim_run(struct sim *sim)
{
    sim->outside = fiber_adopt_thread();
    if (!sim->outside) {
        return MANTA_E_NOMEM;
    }
    int rc = run_events(sim);
    fiber_release_thread(sim->outside);
    sim->outside = NULL;
    return rc;
}

uint64_t sim_now_ns(const struct sim *sim)
{
    return sim->now_ns;
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->hash;
}

uint64_t sim_event_count(const struct sim *sim)
{
    return sim->event_count;
}
