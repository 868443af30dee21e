/*
 * The logarithm of the price is walked, not the price: a European path then needs a
 * single exp, at its end. The chunk size balances a task's overhead (microseconds)
 * against spreading one contract over many ranks: 2^18 steps are a few milliseconds.
 */
#include "paths.h"

#include <math.h>

#define CHUNK_STEPS (1u << 18)

struct walk {
    double log_price;
    double price_sum; /* of the steps so far; Asian only */
};

/* Of the logarithm of the price. */
struct motion {
    double start;
    double drift;     /* per step */
    double deviation; /* per step */
};

struct paths_plan paths_plan(const struct contract *contract, enum paths_pairing pairing)
{
    uint64_t paths_per_draw = pairing == PATHS_ANTITHETIC ? 2 : 1;
    struct paths_plan plan;
    plan.draws = (contract->samples + paths_per_draw - 1) / paths_per_draw;
    plan.chunk_draws = CHUNK_STEPS / (contract->steps * paths_per_draw);
    uint64_t least = (plan.draws + PATHS_CHUNKS_MAX - 1) / PATHS_CHUNKS_MAX;
    if (plan.chunk_draws < least) {
        plan.chunk_draws = least;
    }
    plan.chunks = (plan.draws + plan.chunk_draws - 1) / plan.chunk_draws;
    return plan;
}

static void advance(struct walk *walk, double log_growth, int32_t style)
{
    walk->log_price += log_growth;
    if (style == CONTRACT_ASIAN) {
        walk->price_sum += exp(walk->log_price);
    }
}

static double payoff(const struct contract *contract, const struct walk *walk)
{
    double price = contract->style == CONTRACT_ASIAN ? walk->price_sum / (double)contract->steps
                                                     : exp(walk->log_price);
    double gain =
        contract->kind == CONTRACT_CALL ? price - contract->strike : contract->strike - price;
    return gain > 0 ? gain : 0;
}

static void moments_add(struct moments *moments, double value)
{
    moments->count++;
    moments->paying += value > 0;
    double delta = value - moments->mean;
    moments->mean += delta / (double)moments->count;
    moments->square_sum += delta * (value - moments->mean);
}

static double draw(const struct contract *contract, enum paths_pairing pairing,
                   const struct motion *motion, manta_rng *rng)
{
    struct walk walk = {motion->start, 0}, mirror = walk;
    for (uint64_t step = 0; step < contract->steps; step++) {
        double shock = motion->deviation * manta_rng_normal(rng);
        advance(&walk, motion->drift + shock, contract->style);
        if (pairing == PATHS_ANTITHETIC) {
            advance(&mirror, motion->drift - shock, contract->style);
        }
    }
    double value = payoff(contract, &walk);
    return pairing == PATHS_PLAIN ? value : 0.5 * (value + payoff(contract, &mirror));
}

void paths_sample(const struct contract *contract, enum paths_pairing pairing, uint64_t draws,
                  manta_rng *rng, struct moments *moments)
{
    double years = contract->maturity / (double)contract->steps;
    double variance = contract->volatility * contract->volatility;
    struct motion motion = {
        .start = log(contract->spot),
        .drift = (contract->rate - contract->dividend - 0.5 * variance) * years,
        .deviation = contract->volatility * sqrt(years),
    };
    while (draws--) {
        moments_add(moments, draw(contract, pairing, &motion, rng));
    }
}

void moments_merge(struct moments *into, const struct moments *from)
{
    if (from->count == 0) {
        return;
    }
    double a = (double)into->count, b = (double)from->count;
    double delta = from->mean - into->mean;
    into->mean += delta * b / (a + b);
    into->square_sum += from->square_sum + delta * delta * a * b / (a + b);
    into->count += from->count;
    into->paying += from->paying;
}

double moments_std_error(const struct moments *moments)
{
    if (moments->count < 2) {
        return 0;
    }
    double count = (double)moments->count;
    return sqrt(moments->square_sum / (count - 1) / count);
}
