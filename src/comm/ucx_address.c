/*
 * Where an end listens: an address by which the other hosts reach this one.
 *
 * A user who names the devices that UCX may use (UCX_NET_DEVICES) means the network that they are
 * on, so of the interfaces that are up the first that is named there is taken, itself or as the
 * interface of a named RDMA device. Otherwise, and where none fits, the first that is no loopback.
 * IPv4 goes before IPv6, as it does in UCX (whose TCP, up to 1.13, does not see interfaces without
 * IPv4 at all); of IPv6 no link-local addresses, which mean nothing elsewhere. Alone on the
 * machine: the loopback.
 */
#include "comm/ucx.h"
#include "manta/error.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NET "/sys/class/net"

/* How well an address suits; the best wins, the first of these. */
enum { SUITS_NOT, SUITS_LOOPBACK, SUITS = 3, SUITS_NAMED = 5, BY_VERSION_4 = 1 };

/* "mlx5_0:1" is a port of the RDMA device mlx5_0; interfaces have no ports. */
static bool is_on(const char *interface, const char *device, size_t bytes)
{
    char path[512];
    const char *port = memchr(device, ':', bytes);
    int length = (int)(port ? (size_t)(port - device) : bytes);
    if (strlen(interface) == bytes && !strncmp(interface, device, bytes)) {
        return true;
    }
    snprintf(path, sizeof path, NET "/%s/device/infiniband/%.*s", interface, length, device);
    return length && access(path, F_OK) == 0;
}

bool ucx_address_is_named(const char *interface, const char *devices)
{
    for (const char *at = devices; at && *at;) {
        size_t bytes = strcspn(at, ",");
        if (is_on(interface, at, bytes)) {
            return true;
        }
        at += bytes + (at[bytes] == ',');
    }
    return false;
}

static bool is_useful(const struct ifaddrs *at)
{
    if (!at->ifa_addr || !(at->ifa_flags & IFF_UP)) {
        return false;
    }
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)at->ifa_addr;
    return at->ifa_addr->sa_family == AF_INET ||
           (at->ifa_addr->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr));
}

static int suits(const struct ifaddrs *at, const char *interface, const char *devices)
{
    int by_version_4 = is_useful(at) && at->ifa_addr->sa_family == AF_INET ? BY_VERSION_4 : 0;
    if (!is_useful(at) || (interface && strcmp(at->ifa_name, interface))) {
        return SUITS_NOT;
    }
    if (at->ifa_flags & IFF_LOOPBACK) {
        return SUITS_LOOPBACK + by_version_4;
    }
    return (ucx_address_is_named(at->ifa_name, devices) ? SUITS_NAMED : SUITS) + by_version_4;
}

socklen_t ucx_address_bytes(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

int ucx_address_find(const char *interface, struct sockaddr_storage *ret_address)
{
    struct ifaddrs *first;
    int best = SUITS_NOT;
    if (getifaddrs(&first)) {
        return MANTA_E_SYSTEM;
    }
    for (const struct ifaddrs *at = first; at; at = at->ifa_next) {
        int found = suits(at, interface, getenv("UCX_NET_DEVICES"));
        if (found > best) {
            best = found;
            memset(ret_address, 0, sizeof *ret_address);
            ret_address->ss_family = at->ifa_addr->sa_family;
            memcpy(ret_address, at->ifa_addr, ucx_address_bytes(ret_address));
        }
    }
    freeifaddrs(first);
    return best == SUITS_NOT ? MANTA_E_NOTFOUND : MANTA_OK;
}
