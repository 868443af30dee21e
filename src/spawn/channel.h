/*
 * Packets over a SOCK_SEQPACKET pair: whole or not at all, with at most two descriptors.
 *
 * A body of up to CHANNEL_INLINE_MAX travels in the packet, a longer one in a sealed memory
 * file beside it, so that the size of an argument is not the socket's business. Nothing here
 * waits.
 */
#ifndef SPAWN_CHANNEL_H
#define SPAWN_CHANNEL_H

#include "base/compiler.h"

#include <stdbool.h>
#include <sys/uio.h>

#define CHANNEL_INLINE_MAX (32u << 10)
#define CHANNEL_PACKET_MAX (96u << 10)
#define CHANNEL_BODY_MAX (UINT64_C(1) << 40)

struct packet {
    void *body; /* in `buffer`, or mapped */
    size_t size;
    int fds[2]; /* owned by the receiver; -1: none */
    bool is_mapped;
    char *buffer; /* CHANNEL_PACKET_MAX, the caller's */
};

/* Both ends close-on-exec and non-blocking. MANTA_OK, MANTA_E_SYSTEM, MANTA_E_LIMIT. */
int channel_pair(int ret_sockets[2]);

/* The pieces as one packet. fds are borrowed, -1 for none. MANTA_OK, MANTA_E_AGAIN when there is no
 * room now, MANTA_E_SYSTEM when the other end is gone. */
int channel_send(int socket, const struct iovec *pieces, int count, const int fds[2]);

/* MANTA_OK, MANTA_E_AGAIN when there is nothing, MANTA_E_SHUTDOWN at the end, MANTA_E_INVALID for a
 * packet that is dropped. The packet's buffer is the caller's; the rest goes with
 * channel_release. */
int channel_receive(int socket, struct packet *packet);
void channel_release(struct packet *packet);

/* The pieces as a sealed memory file, for channel_send_body. The descriptor or a negative code. */
int channel_file(const struct iovec *pieces, int count);
/* A packet whose body is that file. */
int channel_send_file(int socket, int file, size_t size);

#endif
