/*
 * Random streams: see <manta/rng.h> for what they are.
 *
 * Philox itself is Random123's, seen by this file alone. A refill makes four blocks: one
 * block is a chain of ten dependent multiplications, four side by side keep the multiplier
 * busy. The numbers of a stream are numbered 0, 1, 2, ...; `block` and `next` say which
 * comes next and nothing else does, so it does not matter in which steps they are drawn.
 *
 * The normal deviate inverts the distribution function: one number in, one deviate out, so
 * that skipping and branching stay simple, and it is monotone in the number drawn. The usual
 * pair methods would need a deviate kept in the state, a rejection an unknown count.
 */
#include <manta/rng.h>

#include <Random123/philox.h>
#include <math.h>

enum { WORDS = 4, BLOCKS = MANTA_RNG_BUFFER / WORDS };

void manta_rng_refill(manta_rng *rng)
{
    philox4x64_key_t key = {{rng->key[0], rng->key[1]}};
    for (uint64_t i = 0; i < BLOCKS; i++) {
        philox4x64_ctr_t counter = {{rng->block + i, 0, 0, 0}};
        philox4x64_ctr_t made = philox4x64_R(10, counter, key);
        for (uint64_t k = 0; k < WORDS; k++) {
            rng->buffer[i * WORDS + k] = made.v[k];
        }
    }
    rng->block += BLOCKS;
    rng->next = 0;
}

void manta_rng_skip(manta_rng *rng, uint64_t count)
{
    uint64_t left = MANTA_RNG_BUFFER - rng->next;
    if (count <= left) {
        rng->next += count;
        return;
    }
    count -= left;
    rng->block += count / WORDS;
    rng->next = MANTA_RNG_BUFFER;
    if (count % WORDS) {
        manta_rng_refill(rng);
        rng->next = count % WORDS;
    }
}

/* Coefficients of the same index belong to the powers of the argument, lowest first. */
static double ratio(double x, const double over[8], const double under[8])
{
    double a = over[7], b = under[7];
    for (int i = 6; i >= 0; i--) {
        a = a * x + over[i];
        b = b * x + under[i];
    }
    return a / b;
}

/* AS 241, PPND16: |q| <= 0.425, and two ranges of sqrt(-log(tail)). */
static const double middle_over[8] = {3.3871328727963666080e0, 1.3314166789178437745e2,
                                      1.9715909503065514427e3, 1.3731693765509461125e4,
                                      4.5921953931549871457e4, 6.7265770927008700853e4,
                                      3.3430575583588128105e4, 2.5090809287301226727e3};
static const double middle_under[8] = {1.0,
                                       4.2313330701600911252e1,
                                       6.8718700749205790830e2,
                                       5.3941960214247511077e3,
                                       2.1213794301586595867e4,
                                       3.9307895800092710610e4,
                                       2.8729085735721942674e4,
                                       5.2264952788528545610e3};
static const double near_over[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                    5.76949722146069140550e0,  3.64784832476320460504e0,
                                    1.27045825245236838258e0,  2.41780725177450611770e-1,
                                    2.27238449892691845833e-2, 7.74545014278341407640e-4};
static const double near_under[8] = {1.0,
                                     2.05319162663775882187e0,
                                     1.67638483018380384940e0,
                                     6.89767334985100004550e-1,
                                     1.48103976427480074590e-1,
                                     1.51986665636164571966e-2,
                                     5.47593808499534494600e-4,
                                     1.05075007164441684324e-9};
static const double far_over[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                   1.78482653991729133580e0,  2.96560571828504891230e-1,
                                   2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                   2.71155556874348757815e-5, 2.01033439929228813265e-7};
static const double far_under[8] = {1.0,
                                    5.99832206555887937690e-1,
                                    1.36929880922735805310e-1,
                                    1.48753612908506148525e-2,
                                    7.86869131145613259100e-4,
                                    1.84631831751005468180e-5,
                                    1.42151175831644588870e-7,
                                    2.04426310338993978564e-15};

static double normal_tail(double tail)
{
    double r = sqrt(-log(tail));
    return r <= 5.0 ? ratio(r - 1.6, near_over, near_under) : ratio(r - 5.0, far_over, far_under);
}

double manta_rng_normal(manta_rng *rng)
{
    /* Odd multiples of 2^-53: never 0 or 1, symmetric about 1/2, exact. */
    double p = ((double)(manta_rng_u64(rng) >> 12) + 0.5) * 0x1p-52;
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        return q * ratio(0.180625 - q * q, middle_over, middle_under);
    }
    return q < 0 ? -normal_tail(p) : normal_tail(1.0 - p);
}
