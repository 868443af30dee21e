/*
 * Which transport each peer got, and the one warning about it.
 *
 * UCX 1.13 tells the lanes of an endpoint in text only. Its line per lane names transport
 * and device, then what the lane is used for; the one that carries active messages
 * carries everything of ours. That is read once, when the endpoint has connected, and kept
 * for whoever asks, at any time and on any thread, which must not touch UCX.
 */
#include "comm/ucx.h"

#include <dirent.h>
#include <stdio.h>

#define SYSTEM_DEVICES "/sys/class/infiniband"

static bool is_rdma(const char *transport)
{
    return !strncmp(transport, "rc", 2) || !strncmp(transport, "dc", 2) ||
           !strncmp(transport, "ud", 2);
}

/* "# lane[0]:  1:tcp/eth0.0 md[1] -> md[1]/tcp/sysdev[255] am am_bw#0 wireup" */
static bool parse_lane(const char *line, struct comm_ucx_way *ret_way)
{
    struct comm_ucx_way way = {0}; /* all of it: ways are compared by bytes */
    const char *lane = strstr(line, "lane["), *colon = lane ? strchr(lane, ':') : NULL;
    const char *uses = colon ? strstr(colon, "-> ") : NULL;
    if (!uses || !strstr(uses, " am ") ||
        sscanf(colon + 1, " %*u:%15[^/ ]/%31[^ ]", way.transport, way.device) != 2) {
        return false;
    }
    char *path_index = strrchr(way.device, '.');
    if (path_index) {
        memset(path_index, 0, sizeof way.device - (size_t)(path_index - way.device));
    }
    way.is_rdma = is_rdma(way.transport);
    *ret_way = way;
    return true;
}

bool ucx_way_parse(const char *text, struct comm_ucx_way *ret_way)
{
    while (text && *text) {
        const char *end = strchr(text, '\n');
        size_t bytes = end ? (size_t)(end - text) : strlen(text);
        char line[256];
        snprintf(line, sizeof line, "%.*s ", (int)MT_MIN(bytes, sizeof line - 2), text);
        if (parse_lane(line, ret_way)) {
            return true;
        }
        text = end ? end + 1 : NULL;
    }
    return false;
}

static bool find_way(struct ucx_peer *peer, struct comm_ucx_way *ret_way)
{
    char text[4096] = "";
    FILE *stream = fmemopen(text, sizeof text, "w");
    if (!stream) {
        return false;
    }
    ucp_ep_print_info(peer->endpoint, stream);
    fclose(stream);
    text[sizeof text - 1] = '\0';
    return ucx_way_parse(text, ret_way);
}

bool comm_ucx_way(const struct comm *comm, uint32_t rank, struct comm_ucx_way *ret_way)
{
    const struct comm_ucx *ucx = (const struct comm_ucx *)comm;
    /* Pairs with publish. */
    uint32_t number =
        rank < comm->size ? atomic_load_explicit(&ucx->way_of[rank], memory_order_acquire) : 0;
    if (number) {
        *ret_way = ucx->ways[number - 1];
    }
    return number != 0;
}

/* A way is written once and then only read, so whoever sees its number may read it. Where there are
 * too many the last stands for the rest. */
static void publish(struct comm_ucx *ucx, uint32_t rank, const struct comm_ucx_way *way)
{
    uint32_t i = 0;
    while (i < ucx->way_count && memcmp(&ucx->ways[i], way, sizeof *way)) {
        i++;
    }
    if (i == ucx->way_count && i < UCX_WAYS_MAX) {
        ucx->ways[ucx->way_count++] = *way;
    }
    /* Pairs with comm_ucx_way. */
    atomic_store_explicit(&ucx->way_of[rank], (uint8_t)(MT_MIN(i, UCX_WAYS_MAX - 1u) + 1),
                          memory_order_release);
}

static bool is_port_active(const char *directory, const char *device, const char *port)
{
    char path[512], state[32] = "";
    snprintf(path, sizeof path, "%s/%s/ports/%s/state", directory, device, port);
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    bool is_active = fgets(state, sizeof state, file) && strstr(state, "ACTIVE");
    fclose(file);
    return is_active;
}

static bool is_device_active(const char *directory, const char *device)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/ports", directory, device);
    DIR *ports = opendir(path);
    bool is_active = false;
    for (struct dirent *entry; ports && !is_active && (entry = readdir(ports));) {
        is_active = entry->d_name[0] != '.' && is_port_active(directory, device, entry->d_name);
    }
    if (ports) {
        closedir(ports);
    }
    return is_active;
}

bool ucx_way_has_active_device(const char *directory)
{
    DIR *devices = opendir(directory);
    bool is_found = false;
    for (struct dirent *entry; devices && !is_found && (entry = readdir(devices));) {
        is_found = entry->d_name[0] != '.' && is_device_active(directory, entry->d_name);
    }
    if (devices) {
        closedir(devices);
    }
    return is_found;
}

static void warn(struct comm_ucx *ucx, uint32_t missing)
{
    ucx->has_warned = true;
    ucx->missing = missing;
    /* Pairs with comm_ucx_take_warning. */
    atomic_store_explicit(&ucx->is_warning_due, true, memory_order_release);
}

void ucx_way_note(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    struct comm_ucx_way way;
    if (!peer->endpoint || !find_way(peer, &way)) {
        return;
    }
    publish(ucx, peer->common.rank, &way);
    if (ucx->has_warned || way.is_rdma) {
        return;
    }
    if (!ucx->has_looked_for_rdma) {
        ucx->has_looked_for_rdma = true;
        ucx->expects_rdma |=
            ucx_way_has_active_device(ucx->devices ? ucx->devices : SYSTEM_DEVICES);
    }
    if (ucx->expects_rdma) {
        snprintf(ucx->warning, sizeof ucx->warning,
                 "rank %u reaches rank %u by %s over %s although RDMA was expected: check UCX_TLS, "
                 "UCX_NET_DEVICES, ulimit -l and the device's state on both hosts",
                 ucx->common.rank, peer->common.rank, way.transport, way.device);
        warn(ucx, UINT32_MAX);
    }
}

void ucx_way_missing(struct comm_ucx *ucx, struct ucx_peer *peer, const char *reason)
{
    if (!ucx->has_warned) {
        snprintf(ucx->warning, sizeof ucx->warning,
                 "rank %u finds no way to rank %u: %s: if that rank lives, check UCX_TLS and "
                 "UCX_NET_DEVICES on both hosts",
                 ucx->common.rank, peer->common.rank, reason);
        warn(ucx, peer->common.rank);
    }
}

/* Who died is not reached for that reason. */
static bool is_explained(const struct comm_ucx *ucx)
{
    uint32_t rank = ucx->missing;
    return rank != UINT32_MAX &&
           (atomic_load_explicit(&ucx->mourned[rank / 64], memory_order_relaxed) >> rank % 64 & 1);
}

bool comm_ucx_take_warning(struct comm *comm, char *text, size_t text_bytes)
{
    struct comm_ucx *ucx = ucx_of(comm);
    /* Pairs with warn. */
    if (!atomic_exchange_explicit(&ucx->is_warning_due, false, memory_order_acquire) ||
        is_explained(ucx)) {
        return false;
    }
    snprintf(text, text_bytes, "%s", ucx->warning);
    return true;
}
