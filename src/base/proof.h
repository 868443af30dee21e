/*
 * proof: that somebody knows a secret, without saying it.
 *
 * A proof is a keyed hash of a message: SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012), once
 * under each half of the secret. Who does not know the secret cannot make one for a message that
 * he has not seen proven; so the message has to hold what makes it unlike all others (a random
 * number of the one who asks), and who says it to whom (or it could be sent back).
 */
#ifndef BASE_PROOF_H
#define BASE_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BASE_SECRET_BYTES 32

struct base_proof {
    uint64_t halves[2];
};

struct base_proof base_prove(const uint8_t secret[BASE_SECRET_BYTES], const void *message,
                             size_t bytes);
/* In constant time. */
bool base_proof_is_equal(const struct base_proof *a, const struct base_proof *b);

/* SipHash-2-4 under a key of 16 bytes. */
uint64_t base_siphash(const uint8_t key[16], const void *message, size_t bytes);

#endif
