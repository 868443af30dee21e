/*
 * Messages of a rank to itself, and the world of one rank.
 *
 * A message to itself goes through a queue like any other and is delivered by
 * comm_progress, never from inside comm_commit: who sends while it is being called
 * by a sink is not called again. The queue grows; it is never congested, because the
 * rank that fills it is the only one that could wait for it to drain.
 */
#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/ops.h"
#include "manta/error.h"

struct wire_header *comm_self_prepare(struct comm *comm, uint32_t bytes)
{
    struct comm_record *record = comm_fifo_push(&comm->self, bytes);
    if (!record) {
        return NULL;
    }
    comm->open.kind = COMM_OPEN_SELF;
    return &record->header;
}

unsigned comm_self_poll(struct comm *comm, unsigned budget)
{
    unsigned count = 0;
    struct comm_record *record;
    while (count < budget && (record = comm_fifo_front(&comm->self))) {
        comm->stats.messages_received++;
        comm->stats.bytes_received += sizeof record->header + record->body_bytes;
        comm->sink.message(comm->sink.owner, comm->rank, &record->header, &record->header + 1);
        comm_fifo_pop(&comm->self);
        count++;
    }
    return count;
}

void comm_park_sleep(struct comm *comm, uint64_t deadline_ns)
{
    atomic_fetch_add_explicit(&comm->sleeps, 1, memory_order_relaxed);
    base_park_wait(comm->host, &comm->park, deadline_ns);
}

void comm_park_wake(struct comm *comm)
{
    base_park_wake(comm->host, &comm->park);
}

static int alone_peer_init(struct comm *comm, struct comm_peer *peer)
{
    return 0;
}

static struct wire_header *alone_slot(struct comm *comm, struct comm_peer *peer, uint32_t bytes,
                                      enum comm_frame frame)
{
    return NULL;
}

static unsigned alone_poll(struct comm *comm, unsigned budget)
{
    return 0;
}

static bool alone_arm(struct comm *comm)
{
    return true;
}

static void alone_nothing(struct comm *comm)
{
}

static const struct comm_ops alone_ops = {
    .peer_bytes = sizeof(struct comm_peer),
    .fragment_bytes = WIRE_BODY_MAX,
    .peer_init = alone_peer_init,
    .slot = alone_slot,
    .flush = alone_nothing,
    .poll = alone_poll,
    .arm = alone_arm,
    .rouse = alone_nothing,
    .sleep = comm_park_sleep,
    .wake = comm_park_wake,
    .destroy = alone_nothing,
};

int comm_create_alone(const struct base_host *host, struct comm **ret_comm)
{
    struct comm *comm = base_alloc(sizeof *comm);
    if (!comm) {
        return MANTA_E_NOMEM;
    }
    int rc = comm_init(comm, &alone_ops, host, 0, 1);
    if (rc) {
        base_free(comm);
        return rc;
    }
    *ret_comm = comm;
    return 0;
}
