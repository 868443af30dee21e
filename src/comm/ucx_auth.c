/* See ucx_auth.h. */
#include "comm/ucx_auth.h"

static struct base_proof prove(const struct ucx_hello *hello, const uint8_t *secret)
{
    return base_prove(secret, hello, offsetof(struct ucx_hello, proof));
}

void ucx_hello_sign(struct ucx_hello *hello, const uint8_t secret[BASE_SECRET_BYTES])
{
    hello->magic = UCX_HELLO_MAGIC;
    hello->version = UCX_WIRE_VERSION;
    hello->proof = prove(hello, secret);
}

bool ucx_hello_is_genuine(const struct ucx_hello *hello, const uint8_t secret[BASE_SECRET_BYTES])
{
    if (hello->magic != UCX_HELLO_MAGIC || hello->version != UCX_WIRE_VERSION) {
        return false;
    }
    struct base_proof proof = prove(hello, secret);
    return base_proof_is_equal(&proof, &hello->proof);
}
