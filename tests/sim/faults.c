#include "faults.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "sched/policy.h"

#include <manta/rng.h>

#define US UINT64_C(1000)

const char *const fault_kind_names[FAULT_KINDS] = {"kill", "node", "stop", "slow", "cut"};
const char *const fault_phase_names[FAULT_PHASES] = {"start", "work", "recovery", "finish"};

static uint64_t below(manta_rng *rng, uint64_t n)
{
    return manta_rng_u64(rng) % n;
}

/* Half of them are over before anybody takes the rank for dead. */
static uint64_t draw_duration(manta_rng *rng, const struct fault_plan *plan)
{
    uint64_t silence_ns = plan->silence_ns;
    bool is_long = below(rng, 2);
    return is_long ? silence_ns + below(rng, 8 * silence_ns) : below(rng, silence_ns) + 1;
}

static void draw_fault(manta_rng *rng, const struct fault_options *options,
                       const struct fault *before, const struct fault_plan *plan,
                       struct fault *ret_fault)
{
    struct fault *fault = ret_fault;
    fault->kind = options->only_kills ? FAULT_KILL : (enum fault_kind)below(rng, FAULT_KINDS);
    fault->draw = manta_rng_u64(rng);
    fault->at_ns = below(rng, options->within_ns);
    if (before && below(rng, 3) == 0) {
        fault->at_ns = before->at_ns + below(rng, 300 * US);
        fault->is_late = before->is_late;
    } else if (!options->only_kills && below(rng, 8) == 0) {
        fault->is_late = true;
        fault->at_ns = below(rng, 100 * US);
    }
    fault->duration_ns = draw_duration(rng, plan);
    fault->extra_ns = 1 + below(rng, 100 * US);
}

void fault_plan_draw(const struct fault_options *options, struct fault_plan *ret_plan)
{
    static const uint64_t silences[] = {100 * US, 400 * US, 2000 * US};
    static const uint64_t detections[] = {20 * US, 500 * US, 5000 * US, 20000 * US};
    manta_rng rng = manta_rng_stream(options->seed, 0xfa);
    struct fault_plan plan = {.count = MT_MIN(options->count, FAULTS_MAX),
                              .ranks = options->ranks,
                              .node_ranks = 1 + (uint32_t)below(&rng, 4),
                              .silence_ns = silences[below(&rng, MT_COUNT(silences))],
                              .detect_max_ns = detections[below(&rng, MT_COUNT(detections))]};
    for (uint32_t i = 0; i < plan.count; i++) {
        struct fault *fault = &plan.faults[i];
        draw_fault(&rng, options, i ? fault - 1 : NULL, &plan, fault);
        plan.allowance_ns += fault->duration_ns + 8 * plan.silence_ns + 2 * plan.detect_max_ns +
                             sched_retry_delay_ns(i + 2);
    }
    *ret_plan = plan;
}

/* Any rank but the first. */
static uint32_t victim(const struct fault_plan *plan, const struct fault *fault)
{
    return 1 + (uint32_t)(fault->draw % (plan->ranks - 1));
}

static uint32_t node_of(const struct fault_plan *plan, uint32_t rank)
{
    return rank / plan->node_ranks;
}

static void kill_node(const struct fault_plan *plan, uint32_t node, struct sim *sim)
{
    for (uint32_t i = 1; i < plan->ranks; i++) {
        if (node_of(plan, i) == node) {
            sim_kill(sim, i);
        }
    }
}

/* A node, or any set of ranks that rank 0 is not in. */
static void cut(const struct fault_plan *plan, const struct fault *fault, struct sim *sim)
{
    uint32_t node = node_of(plan, victim(plan, fault));
    bool is_node = fault->draw >> 32 & 1 && node != 0;
    uint8_t *is_inside = base_alloc(plan->ranks);
    if (!is_inside) {
        return;
    }
    for (uint32_t i = 1; i < plan->ranks; i++) {
        is_inside[i] = is_node ? node_of(plan, i) == node : (fault->draw >> (33 + i % 31) & 1) != 0;
    }
    sim_cut(sim, is_inside, fault->duration_ns);
    base_free(is_inside);
}

void fault_inject(const struct fault_plan *plan, const struct fault *fault, struct sim *sim)
{
    uint32_t any = (uint32_t)(fault->draw % plan->ranks);
    switch (fault->kind) {
    case FAULT_KILL:
        sim_kill(sim, victim(plan, fault));
        break;
    case FAULT_NODE:
        kill_node(plan, node_of(plan, victim(plan, fault)), sim);
        break;
    case FAULT_STOP: /* rank 0 for so short a time that nobody takes it for dead */
        sim_stop(sim, any, any ? fault->duration_ns : fault->duration_ns % plan->silence_ns);
        break;
    case FAULT_SLOW:
        sim_slow(sim, any, fault->extra_ns, fault->duration_ns);
        break;
    case FAULT_CUT:
        cut(plan, fault, sim);
        break;
    case FAULT_KINDS:
        break;
    }
}
