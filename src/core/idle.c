#include "core/idle.h"

#include "core/dispatch.h"
#include "core/later.h"
#include "core/room.h"

enum { TURN_MESSAGES = 64, TURNS_MAX = 64, SPINS_PER_CLOCK = 32, SPINS_BEFORE_YIELD = 200 };

void idle_wake(struct rank *rank, struct sleeper *sleeper)
{
    sleeper->is_woken = 1;
    if (!sleeper->is_asleep) {
        return;
    }
    if (sleeper->is_sentinel) {
        comm_wake(rank->comm);
    } else {
        base_park_wake(rank->host, &sleeper->park);
    }
}

void idle_wake_worker(struct rank *rank)
{
    struct base_list *link = base_list_pop_front(&rank->idle);
    if (link) {
        idle_wake(rank, MT_CONTAINER(link, struct sleeper, idle));
    }
}

void idle_rouse(struct rank *rank)
{
    if (MT_UNLIKELY(rank->is_ticker_asleep)) {
        rank->is_ticker_asleep = 0;
        idle_wake(rank, &rank->ticker_sleeper);
    }
    if (MT_UNLIKELY(comm_is_armed(rank->comm))) {
        comm_rouse(rank->comm);
    }
}

MT_COLD void idle_rouse_rarely(struct rank *rank)
{
    idle_rouse(rank);
}

static inline uint64_t count_of_turns(const struct rank *rank)
{
    return atomic_load_explicit(&rank->turns, memory_order_relaxed);
}

static inline void count_turn(struct rank *rank)
{
    atomic_store_explicit(&rank->turns, count_of_turns(rank) + 1, memory_order_relaxed);
}

unsigned rank_turn(struct rank *rank)
{
    idle_rouse(rank);
    unsigned count = comm_progress(rank->comm, TURN_MESSAGES);
    count_turn(rank);
    dispatch_pump(rank);
    dispatch_flush(rank);
    return count;
}

unsigned rank_catch_up(struct rank *rank)
{
    unsigned count = rank_turn(rank), all = count, turns = 1;
    while (MT_UNLIKELY(count >= TURN_MESSAGES) && turns++ < TURNS_MAX &&
           !baton_is_wanted(&rank->baton)) {
        count = rank_turn(rank);
        all += count;
    }
    return all;
}

/* The same after a whole turn, with the baton held ever since: only a message brings news. */
static unsigned look_again(struct rank *rank)
{
    unsigned count = comm_progress(rank->comm, TURN_MESSAGES);
    count_turn(rank);
    if (count) {
        dispatch_pump(rank);
        dispatch_flush(rank);
    }
    return count;
}

/* At the own park: another thread is at the bell. Threads that are not workers can be found there
 * at the end. */
static void sleep_at_park(struct rank *rank, struct sleeper *sleeper, uint64_t deadline_ns)
{
    if (!sleeper->is_worker) {
        base_list_push_back(&rank->resting, &sleeper->idle);
    }
    baton_give(&rank->baton);
    base_park_wait(rank->host, &sleeper->park, deadline_ns);
    baton_take(&rank->baton, rank->host);
    if (!sleeper->is_worker) {
        base_list_remove(&sleeper->idle);
    }
}

static void sleep_at_bell(struct rank *rank, struct sleeper *sleeper, uint64_t deadline_ns)
{
    rank->has_sentinel = sleeper->is_sentinel = 1;
    baton_give(&rank->baton);
    comm_sleep(rank->comm, deadline_ns);
    baton_take(&rank->baton, rank->host);
    rank->has_sentinel = sleeper->is_sentinel = 0;
    if (sleeper != &rank->ticker_sleeper) {
        idle_rouse(rank);
    }
}

/* Unless it was woken since it last looked, or something is there. Baton held outside. */
static void sleep_now(struct rank *rank, struct sleeper *sleeper, uint64_t deadline_ns)
{
    if (!sleeper->is_woken && comm_arm(rank->comm)) {
        sleeper->is_asleep = 1;
        sleeper->sleeps++;
        (rank->has_sentinel ? sleep_at_park : sleep_at_bell)(rank, sleeper, deadline_ns);
        sleeper->is_asleep = 0;
    }
    sleeper->is_woken = 0;
}

enum spin_end { SPIN_NOTHING, SPIN_CAME, SPIN_ASIDE };

static void step_aside(struct rank *rank)
{
    baton_give(&rank->baton);
    for (unsigned spins = 1; baton_is_wanted(&rank->baton); spins++) {
        base_cpu_relax();
        if (spins % SPINS_BEFORE_YIELD == 0) {
            rank->host->yield(rank->host->self);
        }
    }
    baton_take(&rank->baton, rank->host);
}

/* One burst of polling under the baton; ends early when something has come, or another thread wants
 * to do something. */
static enum spin_end spin(struct rank *rank, const struct sleeper *sleeper)
{
    for (unsigned i = 0; i < SPINS_PER_CLOCK; i++) {
        if (baton_is_wanted(&rank->baton)) {
            step_aside(rank);
            return SPIN_ASIDE;
        }
        base_cpu_relax();
        if (look_again(rank) || sleeper->is_woken) {
            return SPIN_CAME;
        }
    }
    return SPIN_NOTHING;
}

/* One thread polls; one that waits for a certain result takes it over from a worker, which waits
 * for any. Of many drivers that wait the others sleep: polling in turn would only keep all of them,
 * and whoever has work, off the cores. */
static bool may_spin(const struct rank *rank, const struct sleeper *sleeper)
{
    if (rank->graphs.running) { /* what comes is for the workers, and now */
        return sleeper->is_worker && (!rank->spinner || rank->spinner == sleeper);
    }
    return !rank->spinner || rank->spinner == sleeper ||
           (rank->spinner->is_worker && !sleeper->is_worker);
}

#define SPIN_OVER 1 /* a time that has passed */

/*
 * One burst; the clock is only read when the first brought nothing. A worker that is asked aside
 * stops polling: the thread that wants the baton is at work here and looks itself. False: it has
 * been long enough.
 */
static bool spin_for(struct rank *rank, struct sleeper *sleeper, uint64_t *spin_until,
                     uint64_t deadline_ns)
{
    uint64_t now_ns = *spin_until ? base_now_ns(rank->host) : 0;
    if (*spin_until && (now_ns >= *spin_until || now_ns >= deadline_ns)) {
        return false;
    }
    rank->spinner = sleeper;
    enum spin_end end = spin(rank, sleeper);
    if (rank->spinner == sleeper) {
        rank->spinner = NULL;
    }
    if (end == SPIN_CAME) {
        *spin_until = 0;
    } else if (end == SPIN_ASIDE && sleeper->is_worker) {
        *spin_until = SPIN_OVER;
    } else if (end == SPIN_NOTHING && *spin_until == 0) {
        *spin_until = base_now_ns(rank->host) + rank->spin_ns;
    }
    return true;
}

void idle_step(struct rank *rank, struct sleeper *sleeper, uint64_t *spin_until,
               uint64_t deadline_ns)
{
    if (rank_turn(rank) || sleeper->is_woken) {
        sleeper->is_woken = 0;
        *spin_until = 0;
        return;
    }
    if (rank->spin_ns && may_spin(rank, sleeper) &&
        spin_for(rank, sleeper, spin_until, deadline_ns)) {
        return;
    }
    *spin_until = 0;
    sleep_now(rank, sleeper, deadline_ns);
}

/* At the bell, with the rank: until somebody rings, a thread takes up the looking (idle_rouse), or
 * a retry is due. True: it did sleep, and nobody else is looking. */
static bool ticker_sleep(struct rank *rank)
{
    uint64_t sleeps = rank->ticker_sleeper.sleeps;
    rank->is_ticker_asleep = 1;
    sleep_now(rank, &rank->ticker_sleeper, later_next_ns(rank));
    bool is_alone = rank->is_ticker_asleep;
    rank->is_ticker_asleep = 0;
    return is_alone && rank->ticker_sleeper.sleeps != sleeps;
}

/*
 * One tick: looks if nobody did; sleeps when there is nothing at all. True: look again at once,
 * because a bell was answered. Never so after a rousing: whoever polls would be interrupted at
 * each turn by a ticker that goes back to the bell at once.
 */
static bool tick(struct rank *rank, uint64_t *last_turns)
{
    bool is_again = false;
    dispatch_tick(rank);
    later_tick(rank);
    bool is_waited_for = room_is_wanted(rank) || rank->squeezed;
    if (is_waited_for) {
        room_tick(rank);
    }
    if (count_of_turns(rank) == *last_turns && rank_catch_up(rank) == 0 && !rank->is_stopped &&
        !is_waited_for) {
        is_again = ticker_sleep(rank);
        (void)rank_catch_up(rank);
    }
    *last_turns = count_of_turns(rank);
    return is_again;
}

/* A tick that finds the baton taken is left out: whoever has it looks. */
void ticker_main(void *arg)
{
    struct rank *rank = arg;
    uint64_t last_turns = 0;
    bool is_stopped = false;
    while (!is_stopped) {
        bool is_again = false;
        atomic_fetch_add_explicit(&rank->ticks, 1, memory_order_relaxed);
        if (baton_try(&rank->baton)) {
            is_again = tick(rank, &last_turns);
            is_stopped = rank->is_stopped;
            baton_give(&rank->baton);
        }
        if (!is_again && !is_stopped) {
            (void)base_park_wait(rank->host, &rank->ticker_sleeper.park,
                                 base_now_ns(rank->host) + TICK_NS);
        }
    }
}
