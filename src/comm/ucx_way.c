/*
 * Which transport a peer got, and the one warning about it.
 *
 * UCX 1.13 tells the lanes of an endpoint in text only. Its line per lane names transport
 * and device, then what the lane is used for; the one that carries active messages
 * carries everything of ours.
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
    struct comm_ucx_way way = {.transport = ""};
    const char *lane = strstr(line, "lane["), *colon = lane ? strchr(lane, ':') : NULL;
    const char *uses = colon ? strstr(colon, "-> ") : NULL;
    if (!uses || !strstr(uses, " am ") ||
        sscanf(colon + 1, " %*u:%15[^/ ]/%31[^ ]", way.transport, way.device) != 2) {
        return false;
    }
    char *path_index = strrchr(way.device, '.');
    if (path_index) {
        *path_index = '\0';
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
    struct comm_peer *peer = rank < comm->size ? comm_peer_find(comm, rank) : NULL;
    return peer && ucx_peer_of(peer)->endpoint && find_way(ucx_peer_of(peer), ret_way);
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

/* Looks at the host once, and at ways only as long as a warning is possible. */
void ucx_way_check(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    struct comm_ucx_way way;
    if (ucx->has_warned || !peer->endpoint) {
        return;
    }
    if (!ucx->has_looked_for_rdma) {
        ucx->has_looked_for_rdma = true;
        ucx->expects_rdma |=
            ucx_way_has_active_device(ucx->devices ? ucx->devices : SYSTEM_DEVICES);
    }
    if (ucx->expects_rdma && find_way(peer, &way) && !way.is_rdma) {
        ucx->has_warned = true;
        snprintf(ucx->warning, sizeof ucx->warning,
                 "rank %u reaches rank %u by %s over %s although RDMA was expected: check UCX_TLS, "
                 "UCX_NET_DEVICES, ulimit -l and the device's state on both hosts",
                 ucx->common.rank, peer->common.rank, way.transport, way.device);
    }
}

void ucx_way_missing(struct comm_ucx *ucx, struct ucx_peer *peer, const char *reason)
{
    if (!ucx->has_warned) {
        ucx->has_warned = true;
        snprintf(ucx->warning, sizeof ucx->warning,
                 "rank %u finds no way to rank %u: %s: if that rank lives, check UCX_TLS and "
                 "UCX_NET_DEVICES on both hosts",
                 ucx->common.rank, peer->common.rank, reason);
    }
}

bool comm_ucx_take_warning(struct comm *comm, char *text, size_t text_bytes)
{
    struct comm_ucx *ucx = ucx_of(comm);
    if (!ucx->warning[0]) {
        return false;
    }
    snprintf(text, text_bytes, "%s", ucx->warning);
    ucx->warning[0] = '\0';
    return true;
}
