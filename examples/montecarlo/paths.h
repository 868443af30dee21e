/*
 * Price paths of geometric Brownian motion, sampled exactly at the contract's steps, and
 * the moments of what they pay.
 *
 * A contract's paths are cut into chunks by the contract alone, never by the number of
 * ranks; a chunk draws from its own random stream; chunks are merged in order. So the
 * sums are the same to the last bit wherever the chunks were computed.
 *
 * With antithetic sampling a draw is a pair of mirrored paths, and its value their mean:
 * the pair, not the path, is what the variance is taken of.
 */
#ifndef MONTECARLO_PATHS_H
#define MONTECARLO_PATHS_H

#include "contract.h"

#include <manta/manta.h>

enum paths_pairing { PATHS_PLAIN, PATHS_ANTITHETIC };

/* How many draws a contract takes, and how they are cut: all chunks but the last have chunk_draws.
 */
struct paths_plan {
    uint64_t draws;
    uint64_t chunk_draws;
    uint64_t chunks; /* at most PATHS_CHUNKS_MAX */
};

#define PATHS_CHUNKS_MAX (1u << 20)

/* Running moments of undiscounted payoffs (Welford). All zero is empty. */
struct moments {
    uint64_t count;
    uint64_t paying; /* draws that paid anything */
    double mean;
    double square_sum; /* of deviations from the mean */
};

struct paths_plan paths_plan(const struct contract *contract, enum paths_pairing pairing);

/* Adds the payoffs of `draws` draws from the stream. */
void paths_sample(const struct contract *contract, enum paths_pairing pairing, uint64_t draws,
                  manta_rng *rng, struct moments *moments);

/* Appends `from` to `into` (T. Chan, G. Golub, R. LeVeque, 1979). The order matters to the last
 * bit. */
void moments_merge(struct moments *into, const struct moments *from);

/* One standard error of the mean. 0 for fewer than two draws. */
double moments_std_error(const struct moments *moments);

#endif
