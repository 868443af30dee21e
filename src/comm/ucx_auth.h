/*
 * Who may speak on a way over UCX. Pure functions, private to comm and its tests.
 *
 * UCX accepts a connection from anybody who knows, or guesses, the address of a worker,
 * and its messages do not say who sent them. So every packet names its sender, and
 * proves it by a number that only that sender and this rank know: the session. The
 * first packet of a way, the hello, brings the session, together with a proof (base/proof.h)
 * that the sender knows the job's secret, over everything the hello says.
 *
 * The secret itself never travels, because a hello may meet a stranger: the port of a
 * dead rank can be anybody's a moment later. And since the proof covers the receiver,
 * what the stranger got is of no use with anybody else. Who can read or change the
 * packets of others on the network is not kept out: that would take encryption.
 */
#ifndef COMM_UCX_AUTH_H
#define COMM_UCX_AUTH_H

#include "base/compiler.h"
#include "base/proof.h"

#define UCX_HELLO_MAGIC UINT64_C(0x6d616e7461756378)
#define UCX_WIRE_VERSION 1u

struct ucx_hello {
    uint64_t magic;
    uint32_t version, reserved;
    uint32_t from, to;
    uint64_t incarnation;    /* of the sender */
    uint64_t session;        /* all packets that follow carry it */
    struct base_proof proof; /* of all of the above */
};

/* Sets magic, version and proof. */
void ucx_hello_sign(struct ucx_hello *hello, const uint8_t secret[BASE_SECRET_BYTES]);
/* Magic, version and proof are right. In constant time for all that have the first two. */
bool ucx_hello_is_genuine(const struct ucx_hello *hello, const uint8_t secret[BASE_SECRET_BYTES]);

#endif
