/* The memory limits of this process; see limits.c. Private to the room. */
#ifndef TOPO_LIMITS_H
#define TOPO_LIMITS_H

#include "topo/topo.h"

/* The least limit found, UINT64_MAX when there is none. */
uint64_t topo_limits_read(const struct topo_source *source);

#endif
