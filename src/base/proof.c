/* See proof.h. */
#include "base/proof.h"

#include <string.h>

struct sip {
    uint64_t v[4];
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t load(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << 8 * i;
    }
    return value;
}

static void mix(struct sip *sip, unsigned rounds)
{
    uint64_t *v = sip->v;
    while (rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static void absorb(struct sip *sip, uint64_t word)
{
    sip->v[3] ^= word;
    mix(sip, 2);
    sip->v[0] ^= word;
}

uint64_t base_siphash(const uint8_t key[16], const void *message, size_t bytes)
{
    uint64_t k0 = load(key), k1 = load(key + 8);
    struct sip sip = {{k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                       k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)}};
    const uint8_t *at = message;
    size_t left = bytes;
    for (; left >= 8; left -= 8, at += 8) {
        absorb(&sip, load(at));
    }
    uint8_t last[8] = {0};
    memcpy(last, at, left);
    last[7] = (uint8_t)bytes;
    absorb(&sip, load(last));
    sip.v[2] ^= 0xff;
    mix(&sip, 4);
    return sip.v[0] ^ sip.v[1] ^ sip.v[2] ^ sip.v[3];
}

struct base_proof base_prove(const uint8_t secret[BASE_SECRET_BYTES], const void *message,
                             size_t bytes)
{
    return (struct base_proof){{base_siphash(secret, message, bytes),
                                base_siphash(secret + BASE_SECRET_BYTES / 2, message, bytes)}};
}

bool base_proof_is_equal(const struct base_proof *a, const struct base_proof *b)
{
    return ((a->halves[0] ^ b->halves[0]) | (a->halves[1] ^ b->halves[1])) == 0;
}
