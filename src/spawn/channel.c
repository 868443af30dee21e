/* Packets and their descriptors; see channel.h. */
#include "spawn/channel.h"

#include "manta/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x4d50434bu
enum { BUFFER_BYTES = 512 << 10, PIECES_MAX = 16, SEALS = F_SEAL_SHRINK | F_SEAL_WRITE };

enum place { IN_PACKET = 1, IN_FILE };

struct envelope {
    uint32_t magic, place;
    uint64_t size;
};

union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
};

int channel_pair(int ret_sockets[2])
{
    int sockets[2], bytes = BUFFER_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0) {
        return errno == EMFILE || errno == ENFILE ? MANTA_E_LIMIT : MANTA_E_SYSTEM;
    }
    for (int i = 0; i < 2; i++) {
        /* As much as the system lets us: one packet fits the default too. */
        (void)setsockopt(sockets[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        ret_sockets[i] = sockets[i];
    }
    return MANTA_OK;
}

static void attach(struct msghdr *message, union control *control, const int fds[2])
{
    int count = fds ? (fds[0] >= 0) + (fds[1] >= 0) : 0;
    if (count == 0) {
        return;
    }
    memset(control, 0, sizeof *control);
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control->head = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS,
                                     .cmsg_len = CMSG_LEN((size_t)count * sizeof(int))};
    memcpy(CMSG_DATA(&control->head), fds, (size_t)count * sizeof(int));
}

static int post(int socket, struct iovec *parts, size_t count, const int fds[2])
{
    union control control;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    attach(&message, &control, fds);
    if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        return MANTA_OK;
    }
    return errno == EAGAIN || errno == ENOBUFS || errno == EINTR || errno == ETOOMANYREFS
               ? MANTA_E_AGAIN
               : MANTA_E_SYSTEM;
}

static size_t total(const struct iovec *pieces, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += pieces[i].iov_len;
    }
    return bytes;
}

int channel_send(int socket, const struct iovec *pieces, int count, const int fds[2])
{
    struct envelope envelope = {MAGIC, IN_PACKET, total(pieces, count)};
    struct iovec parts[PIECES_MAX] = {{&envelope, sizeof envelope}};
    if (count >= PIECES_MAX) {
        return MANTA_E_INVALID;
    }
    memcpy(parts + 1, pieces, (size_t)count * sizeof *pieces);
    return post(socket, parts, (size_t)count + 1, fds);
}

int channel_send_file(int socket, int file, size_t size)
{
    struct envelope envelope = {MAGIC, IN_FILE, size};
    struct iovec part = {&envelope, sizeof envelope};
    const int fds[2] = {file, -1};
    return post(socket, &part, 1, fds);
}

static bool write_whole(int file, const struct iovec *piece)
{
    for (size_t done = 0; done < piece->iov_len;) {
        ssize_t wrote = write(file, (const char *)piece->iov_base + done, piece->iov_len - done);
        if (wrote <= 0 && errno != EINTR) {
            return false;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

int channel_file(const struct iovec *pieces, int count)
{
    int file = memfd_create("manta-body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) {
        return errno == EMFILE || errno == ENFILE ? MANTA_E_LIMIT : MANTA_E_SYSTEM;
    }
    for (int i = 0; i < count; i++) {
        if (!write_whole(file, &pieces[i])) {
            close(file);
            return MANTA_E_NOMEM;
        }
    }
    /* Or the reader could be made to read beyond the end. */
    if (fcntl(file, F_ADD_SEALS, SEALS) != 0) {
        close(file);
        return MANTA_E_SYSTEM;
    }
    return file;
}

static void take_fds(struct msghdr *message, struct packet *packet)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
            size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(packet->fds, CMSG_DATA(head), MT_MIN(count, 2) * sizeof(int));
        }
    }
}

static int map_body(struct packet *packet, uint64_t size)
{
    struct stat status;
    int seals = packet->fds[0] >= 0 ? fcntl(packet->fds[0], F_GET_SEALS) : -1;
    if (seals < 0 || (seals & SEALS) != SEALS || size == 0 || size > CHANNEL_BODY_MAX ||
        fstat(packet->fds[0], &status) != 0 || (uint64_t)status.st_size != size) {
        return MANTA_E_INVALID;
    }
    void *body = mmap(NULL, size, PROT_READ, MAP_PRIVATE, packet->fds[0], 0);
    if (body == MAP_FAILED) {
        return MANTA_E_NOMEM;
    }
    packet->body = body;
    packet->size = size;
    packet->is_mapped = true;
    return MANTA_OK;
}

static int open_envelope(struct packet *packet, size_t got)
{
    struct envelope envelope;
    if (got < sizeof envelope) {
        return MANTA_E_INVALID;
    }
    memcpy(&envelope, packet->buffer, sizeof envelope);
    if (envelope.magic != MAGIC) {
        return MANTA_E_INVALID;
    }
    if (envelope.place == IN_FILE && got == sizeof envelope) {
        return map_body(packet, envelope.size);
    }
    packet->body = packet->buffer + sizeof envelope;
    packet->size = got - sizeof envelope;
    return envelope.place == IN_PACKET && packet->size == envelope.size ? MANTA_OK
                                                                        : MANTA_E_INVALID;
}

int channel_receive(int socket, struct packet *packet)
{
    union control control;
    struct iovec part = {packet->buffer, CHANNEL_PACKET_MAX};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    *packet = (struct packet){.fds = {-1, -1}, .buffer = packet->buffer};
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? MANTA_E_AGAIN : MANTA_E_SHUTDOWN;
    }
    take_fds(&message, packet);
    if (got == 0) {
        channel_release(packet);
        return MANTA_E_SHUTDOWN; /* no packet of ours is empty */
    }
    int code = message.msg_flags & MSG_TRUNC ? MANTA_E_INVALID : open_envelope(packet, (size_t)got);
    if (code != MANTA_OK) {
        channel_release(packet);
    }
    return code;
}

void channel_release(struct packet *packet)
{
    if (packet->is_mapped) {
        munmap(packet->body, packet->size);
        packet->is_mapped = false;
    }
    for (int i = 0; i < 2; i++) {
        if (packet->fds[i] >= 0) {
            close(packet->fds[i]);
            packet->fds[i] = -1;
        }
    }
}
