/*
 * Random numbers that do not depend on who draws them. ISO C17 and C++17. Part of
 * <manta/manta.h>; needs no running library.
 *
 * Counter-based: number i of stream (seed, stream) is a pure function of the three, Philox4x64-10
 * with key (seed, stream) and counter i / 4 (Salmon, Moraes, Dror, Shaw: Parallel random
 * numbers: as easy as 1, 2, 3. SC11, doi:10.1145/2063384.2063405). So give each task, row or
 * path its own stream number and the answer is the same on 1 and on 64 ranks, and after a
 * re-execution. Streams do not overlap; each has 2^66 numbers.
 *
 *     manta_rng rng = manta_rng_stream(seed, manta_map_index());
 *     double x = manta_rng_uniform(&rng), z = manta_rng_normal(&rng);
 *
 * u64, uniform and normal take exactly one number of the stream each, below one or (rarely)
 * more. Context: anywhere; a manta_rng belongs to one thread or task at a time.
 */
#ifndef MANTA_RNG_H
#define MANTA_RNG_H

#include <manta/manta.h>

#ifdef __cplusplus
#define MANTA_CAST_(T, value) static_cast<T>(value)
extern "C" {
#else
#define MANTA_CAST_(T, value) ((T)(value))
#endif

/* Numbers made at once: several blocks of four, whose multiplications overlap. */
#define MANTA_RNG_BUFFER 16

/* A position in a stream. A plain value: copy it to branch, pass it to tasks. */
typedef struct manta_rng {
    uint64_t key[2]; /* seed, stream */
    uint64_t block;  /* the next to make */
    uint64_t next;   /* index in buffer of the next number; MANTA_RNG_BUFFER: make more */
    uint64_t buffer[MANTA_RNG_BUFFER];
} manta_rng;

/* Makes the next MANTA_RNG_BUFFER numbers; the functions below call it when they need to. */
MANTA_API void manta_rng_refill(manta_rng *rng);

/* A standard normal number, mean 0, deviation 1, by inversion to full precision: Wichura,
 * algorithm AS 241, Applied Statistics 37 (1988). */
MANTA_API double manta_rng_normal(manta_rng *rng);

/* Goes `count` numbers ahead, in constant time. */
MANTA_API void manta_rng_skip(manta_rng *rng, uint64_t count);

/* The beginning of a stream. Any two values will do, small consecutive ones too. */
static inline manta_rng manta_rng_stream(uint64_t seed, uint64_t stream)
{
    manta_rng rng = {{seed, stream}, 0, MANTA_RNG_BUFFER, {0}};
    return rng;
}

/* 64 random bits. */
static inline uint64_t manta_rng_u64(manta_rng *rng)
{
    if (rng->next >= MANTA_RNG_BUFFER) {
        manta_rng_refill(rng);
    }
    return rng->buffer[rng->next++];
}

/* Uniform in [0, 1), a multiple of 2^-53. */
static inline double manta_rng_uniform(manta_rng *rng)
{
    return MANTA_CAST_(double, manta_rng_u64(rng) >> 11) * 0x1p-53;
}

/* Uniform in 0 .. n - 1 without bias; 0 when n is 0. Lemire: Fast random integer generation in an
 * interval, ACM TOMACS 29 (2019). */
static inline uint64_t manta_rng_below(manta_rng *rng, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = MANTA_CAST_(wide, manta_rng_u64(rng)) * n;
    if (MANTA_CAST_(uint64_t, product) < n) {
        uint64_t biased = (0 - n) % n;
        while (MANTA_CAST_(uint64_t, product) < biased) {
            product = MANTA_CAST_(wide, manta_rng_u64(rng)) * n;
        }
    }
    return MANTA_CAST_(uint64_t, product >> 64);
}

#ifdef __cplusplus
}
#endif

#endif
