/*
 * Faults, and who hears of them.
 *
 * The model of launch/watch.c. Rank 0 has a line to every other rank. A line's end is a death,
 * seen at once unless the two are cut from each other; silence for `silence_ns` and part of a
 * beat is one too. Rank 0 judges once per rank and tells the others, each after a drawn
 * delay, because a survivor may also see it by itself or hear of it late. A silent rank
 * on rank 0's own node has more patience and is killed; one elsewhere is fenced: nobody
 * speaks to it any more, but it goes on until it sees the end of its line. Then it leaves:
 * the program is told (options.fenced) and what still runs of it after a while is ended by
 * force. A rank that is cut off judges rank 0 by the same silence and leaves by itself.
 * While rank 0 is stopped it judges nobody, and afterwards it forgives what it has missed.
 *
 * News for a rank that is stopped waits until it goes on, news for one that is cut off from
 * rank 0 until it is reachable. Nothing is ever told of rank 0, whose death ends the job.
 */
#include "comm/sim_world.h"

#define BEATS 4u         /* signs of life in the time of silence */
#define NEAR_PATIENCE 5u /* on rank 0's own node, in times of silence */

/* ---- What keeps two ranks apart ------------------------------------------------------------- */

static uint32_t side_of(const struct sim *sim, const struct sim_rank *rank)
{
    return sim->now_ns < rank->cut_until_ns ? rank->side : 0;
}

uint64_t sim_apart_until(const struct sim *sim, const struct sim_rank *a, const struct sim_rank *b)
{
    uint32_t side = side_of(sim, a), other = side_of(sim, b);
    if (side == other) {
        return 0;
    }
    return MT_MAX(side ? a->cut_until_ns : 0, other ? b->cut_until_ns : 0);
}

uint64_t sim_slowness(struct sim *sim, const struct sim_rank *rank)
{
    return sim->now_ns < rank->slow_until_ns ? sim_between(sim, 0, rank->slow_ns) : 0;
}

/* When news from rank 0 reach it; now, if nothing is in the way. */
static uint64_t reachable_at(const struct sim *sim, const struct sim_rank *rank)
{
    return MT_MAX(sim_apart_until(sim, &sim->ranks[0], rank), rank->stopped_until_ns);
}

static bool is_near(const struct sim *sim, const struct sim_rank *rank)
{
    uint32_t node_ranks = sim->options.node_ranks;
    return node_ranks == 0 || rank->index < node_ranks;
}

static uint64_t patience_ns(struct sim *sim, const struct sim_rank *rank)
{
    uint64_t silence_ns = sim->options.silence_ns;
    return silence_ns * (is_near(sim, rank) ? NEAR_PATIENCE : 1) +
           sim_between(sim, 0, silence_ns / BEATS);
}

/* ---- News ----------------------------------------------------------------------------------- */

/* Rank 0 has seen that it is dead, or takes it for dead. */
static void judge(struct sim *sim, struct sim_rank *dead)
{
    uint64_t told_ns = MT_MAX(sim->now_ns, sim->ranks[0].stopped_until_ns);
    if (dead->judged) {
        return;
    }
    dead->judged = true;
    for (uint32_t i = 0; i < sim->options.ranks; i++) {
        if (sim->ranks[i].alive && !sim->ranks[i].judged) {
            uint64_t delay_ns =
                sim_between(sim, sim->options.detect_min_ns, sim->options.detect_max_ns);
            sim_push(sim, told_ns + delay_ns, SIM_DEATH, i, dead->index, NULL);
        }
    }
}

void sim_hear_death(struct sim *sim, struct sim_rank *survivor, uint32_t dead)
{
    uint64_t when_ns = reachable_at(sim, survivor);
    if (!survivor->alive || survivor->judged) {
        return;
    }
    if (when_ns > sim->now_ns) {
        sim_push(sim, when_ns, SIM_DEATH, survivor->index, dead, NULL);
        return;
    }
    comm_mark_down(&survivor->comm, dead);
    sim_rouse_rank(survivor);
}

/* The end of its line reaches rank 0. */
void sim_see_line_end(struct sim *sim, struct sim_rank *gone)
{
    uint64_t when_ns = sim_apart_until(sim, &sim->ranks[0], gone);
    if (when_ns > sim->now_ns) {
        sim_push(sim, when_ns, SIM_LINE_END, gone->index, 0, NULL);
    } else {
        judge(sim, gone);
    }
}

/* ---- Silence -------------------------------------------------------------------------------- */

static bool is_silent(const struct sim *sim, const struct sim_rank *rank)
{
    return !rank->alive || reachable_at(sim, rank) > sim->now_ns;
}

/* To be called before what silences it. */
static void expect_silence(struct sim *sim, struct sim_rank *rank)
{
    if (rank->index == 0) {
        return;
    }
    if (!is_silent(sim, rank)) {
        rank->silent_since_ns = sim->now_ns;
    }
    sim_push(sim, sim->now_ns + patience_ns(sim, rank), SIM_JUDGE, rank->index, 0, NULL);
}

static void fence(struct sim *sim, struct sim_rank *rank)
{
    if (!rank->alive) {
        judge(sim, rank);
    } else if (is_near(sim, rank)) {
        sim_kill(sim, rank->index);
    } else {
        judge(sim, rank);
        sim_push(sim, sim->now_ns + sim_between(sim, 0, sim->options.delay_max_ns), SIM_FENCED,
                 rank->index, 0, NULL);
    }
}

void sim_judge(struct sim *sim, struct sim_rank *rank)
{
    const struct sim_rank *first = &sim->ranks[0];
    uint64_t since_ns = MT_MAX(rank->silent_since_ns, first->stopped_until_ns);
    uint64_t patience = sim->options.silence_ns * (is_near(sim, rank) ? NEAR_PATIENCE : 1);
    if (rank->judged || !is_silent(sim, rank) || !first->live_threads) {
        return;
    }
    if (sim->now_ns < since_ns + patience) {
        sim_push(sim, since_ns + patience_ns(sim, rank), SIM_JUDGE, rank->index, 0, NULL);
    } else {
        fence(sim, rank);
    }
}

/* It knows that it is out: it stops what it does, and ends. */
static void leave(struct sim *sim, struct sim_rank *rank)
{
    if (!rank->alive || rank->leaving) {
        return;
    }
    rank->leaving = true;
    if (!sim->options.fenced) {
        sim_kill(sim, rank->index);
        return;
    }
    sim->options.fenced(sim->options.fenced_arg, rank->index);
    sim_push(sim, sim->now_ns + sim->options.leave_ns, SIM_FORCE, rank->index, 0, NULL);
    sim_see_line_end(sim, rank);
}

void sim_hear_fence(struct sim *sim, struct sim_rank *rank)
{
    uint64_t when_ns = reachable_at(sim, rank);
    if (when_ns > sim->now_ns) {
        sim_push(sim, when_ns, SIM_FENCED, rank->index, 0, NULL);
    } else {
        leave(sim, rank);
    }
}

/* It has not heard of rank 0 since it was cut off. Having been stopped, it forgives. */
void sim_miss_first(struct sim *sim, struct sim_rank *rank)
{
    uint64_t since_ns = MT_MAX(rank->cut_since_ns, rank->stopped_until_ns);
    if (!rank->alive || !sim_apart_until(sim, &sim->ranks[0], rank)) {
        return;
    }
    if (sim->now_ns < since_ns + sim->options.silence_ns) {
        sim_push(sim, since_ns + patience_ns(sim, rank), SIM_ALONE, rank->index, 0, NULL);
    } else {
        leave(sim, rank);
    }
}

/* ---- What happens to a rank ----------------------------------------------------------------- */

void sim_kill(struct sim *sim, uint32_t dead)
{
    struct sim_rank *rank = &sim->ranks[dead];
    if (!rank->alive) {
        return;
    }
    expect_silence(sim, rank);
    rank->alive = false;
    sim->live_threads -= rank->live_threads;
    sim_lose_messages(sim, rank);
    sim_see_line_end(sim, rank);
}

void sim_stop(struct sim *sim, uint32_t stopped, uint64_t duration_ns)
{
    struct sim_rank *rank = &sim->ranks[stopped];
    if (rank->alive) {
        expect_silence(sim, rank);
        rank->stopped_until_ns = MT_MAX(rank->stopped_until_ns, sim->now_ns + duration_ns);
    }
}

void sim_slow(struct sim *sim, uint32_t slow, uint64_t extra_ns, uint64_t duration_ns)
{
    sim->ranks[slow].slow_ns = extra_ns;
    sim->ranks[slow].slow_until_ns = sim->now_ns + duration_ns;
}

void sim_cut(struct sim *sim, const uint8_t *is_inside, uint64_t duration_ns)
{
    uint32_t side = ++sim->cuts;
    for (uint32_t i = 1; i < sim->options.ranks; i++) {
        struct sim_rank *rank = &sim->ranks[i];
        if (!is_inside[i] || !rank->alive) {
            continue;
        }
        expect_silence(sim, rank);
        if (!side_of(sim, rank)) {
            rank->cut_since_ns = sim->now_ns;
        }
        rank->side = side;
        rank->cut_until_ns = MT_MAX(rank->cut_until_ns, sim->now_ns + duration_ns);
        sim_push(sim, sim->now_ns + patience_ns(sim, rank), SIM_ALONE, i, 0, NULL);
    }
}

bool sim_is_alive(const struct sim *sim, uint32_t rank)
{
    return sim->ranks[rank].alive && !sim->ranks[rank].leaving;
}

bool sim_is_judged(const struct sim *sim, uint32_t rank)
{
    return sim->ranks[rank].judged;
}
