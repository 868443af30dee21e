/*
 * The machine as this process may use it: hwloc's picture, cut to the granted mask.
 *
 * A "core" here is the part of a physical core that was granted; a core of which only
 * one hardware thread was granted is still a core. Where hwloc sees no cores (some
 * virtual machines) each hardware thread is one. Cores are kept in hwloc's logical
 * order, in which neighbours share caches and memory, and ranks that share a mask get
 * consecutive runs of it, so that a rank's workers lie close together. With more ranks
 * than cores every rank counts one core but is bound to the whole mask: the kernel then
 * moves a rank away from a busy core, which a fixed binding would forbid.
 *
 * Caches and devices are not asked for: start-up of a whole node's ranks pays for each.
 */
#include "topo/topo.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "manta/error.h"
#include "topo/limits.h"

#include <hwloc.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct topo {
    hwloc_topology_t handle;
    hwloc_bitmap_t granted;
    hwloc_bitmap_t *cores; /* the granted part of each, in logical order */
    unsigned core_count;
    char *mask;
    uint64_t memory_limit_bytes;
    unsigned index, sharers; /* as topo_share was told */
    unsigned first, owned;   /* of cores */
    bool shared;
};

static int load(struct topo *topo, const struct topo_source *source)
{
    if (hwloc_topology_init(&topo->handle) != 0) {
        return MANTA_E_NOMEM;
    }
    if (source->xml_path && hwloc_topology_set_xml(topo->handle, source->xml_path) != 0) {
        return MANTA_E_INVALID;
    }
    hwloc_topology_set_cache_types_filter(topo->handle, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_icache_types_filter(topo->handle, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_io_types_filter(topo->handle, HWLOC_TYPE_FILTER_KEEP_NONE);
    if (hwloc_topology_load(topo->handle) != 0) {
        return source->xml_path ? MANTA_E_INVALID : MANTA_E_SYSTEM;
    }
    return MANTA_OK;
}

static int parse_mask(hwloc_bitmap_t mask, const char *text)
{
    if (text[strspn(text, "0123456789,-")] != '\0' || hwloc_bitmap_list_sscanf(mask, text) != 0) {
        return MANTA_E_INVALID;
    }
    return MANTA_OK;
}

/* The affinity of the main thread, which the launcher set; the caller may be another. */
static void read_affinity(struct topo *topo, hwloc_bitmap_t mask)
{
    if (!hwloc_topology_is_thissystem(topo->handle) ||
        hwloc_get_proc_cpubind(topo->handle, getpid(), mask, HWLOC_CPUBIND_THREAD) != 0) {
        hwloc_bitmap_fill(mask);
    }
}

static int find_granted(struct topo *topo, const struct topo_source *source)
{
    int code = MANTA_OK;
    topo->granted = hwloc_bitmap_alloc();
    if (!topo->granted) {
        return MANTA_E_NOMEM;
    }
    if (source->mask) {
        code = parse_mask(topo->granted, source->mask);
    } else {
        read_affinity(topo, topo->granted);
    }
    hwloc_bitmap_and(topo->granted, topo->granted, hwloc_topology_get_allowed_cpuset(topo->handle));
    if (code == MANTA_OK && hwloc_bitmap_iszero(topo->granted)) {
        code = source->mask ? MANTA_E_INVALID : MANTA_E_SYSTEM;
    }
    return code;
}

static int add_core(struct topo *topo, hwloc_const_cpuset_t cpuset)
{
    if (!hwloc_bitmap_intersects(cpuset, topo->granted)) {
        return MANTA_OK;
    }
    hwloc_bitmap_t core = hwloc_bitmap_dup(cpuset);
    if (!core) {
        return MANTA_E_NOMEM;
    }
    hwloc_bitmap_and(core, core, topo->granted);
    topo->cores[topo->core_count++] = core;
    return MANTA_OK;
}

static int find_cores(struct topo *topo)
{
    int count = hwloc_get_nbobjs_by_type(topo->handle, HWLOC_OBJ_CORE);
    hwloc_obj_type_t type = count > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    hwloc_obj_t object = NULL;
    count = hwloc_get_nbobjs_by_type(topo->handle, type);
    topo->cores = base_alloc((size_t)count * sizeof topo->cores[0]);
    int code = topo->cores ? MANTA_OK : MANTA_E_NOMEM;
    while (code == MANTA_OK &&
           (object = hwloc_get_next_obj_by_type(topo->handle, type, object)) != NULL) {
        code = add_core(topo, object->cpuset);
    }
    if (code == MANTA_OK && topo->core_count == 0) {
        code = MANTA_E_SYSTEM;
    }
    return code;
}

static int write_mask(struct topo *topo)
{
    int length = hwloc_bitmap_list_snprintf(NULL, 0, topo->granted);
    topo->mask = base_alloc((size_t)length + 1);
    if (!topo->mask) {
        return MANTA_E_NOMEM;
    }
    hwloc_bitmap_list_snprintf(topo->mask, (size_t)length + 1, topo->granted);
    return MANTA_OK;
}

static void find_memory(struct topo *topo, const struct topo_source *source)
{
    uint64_t machine_bytes = hwloc_get_root_obj(topo->handle)->total_memory;
    topo->memory_limit_bytes = topo_limits_read(source);
    if (machine_bytes && machine_bytes < topo->memory_limit_bytes) {
        topo->memory_limit_bytes = machine_bytes;
    }
}

static int fill(struct topo *topo, const struct topo_source *source)
{
    int code = load(topo, source);
    code = code ? code : find_granted(topo, source);
    code = code ? code : find_cores(topo);
    code = code ? code : write_mask(topo);
    if (code == MANTA_OK) {
        unsigned cores;
        bool shared;
        find_memory(topo, source);
        topo_share(topo, 0, 1, &cores, &shared);
    }
    return code;
}

int topo_create(const struct topo_source *source, struct topo **ret_topo)
{
    static const struct topo_source this_machine;
    struct topo *topo = base_alloc(sizeof *topo);
    if (!topo) {
        return MANTA_E_NOMEM;
    }
    int code = fill(topo, source ? source : &this_machine);
    if (code) {
        topo_destroy(topo);
        return code;
    }
    *ret_topo = topo;
    return MANTA_OK;
}

void topo_destroy(struct topo *topo)
{
    if (!topo) {
        return;
    }
    for (unsigned i = 0; i < topo->core_count; i++) {
        hwloc_bitmap_free(topo->cores[i]);
    }
    base_free(topo->cores);
    base_free(topo->mask);
    hwloc_bitmap_free(topo->granted);
    if (topo->handle) {
        hwloc_topology_destroy(topo->handle);
    }
    base_free(topo);
}

unsigned topo_core_count(const struct topo *topo)
{
    return topo->core_count;
}

unsigned topo_pu_count(const struct topo *topo)
{
    return (unsigned)hwloc_bitmap_weight(topo->granted);
}

uint64_t topo_memory_limit_bytes(const struct topo *topo)
{
    return topo->memory_limit_bytes;
}

const char *topo_mask_string(const struct topo *topo)
{
    return topo->mask;
}

void topo_share(struct topo *topo, unsigned index, unsigned sharers, unsigned *ret_cores,
                bool *ret_shared)
{
    uint64_t cores = topo->core_count;
    topo->sharers = MT_MAX(sharers, 1u);
    topo->index = index % topo->sharers;
    topo->shared = topo->sharers > cores;
    topo->first = (unsigned)(topo->index * cores / topo->sharers);
    topo->owned = (unsigned)((topo->index + UINT64_C(1)) * cores / topo->sharers) - topo->first;
    topo->owned = topo->shared ? 1 : topo->owned;
    *ret_cores = topo->owned;
    *ret_shared = topo->shared;
}

const void *topo_worker_cpuset(const struct topo *topo, unsigned worker)
{
    return topo->shared ? topo->granted : topo->cores[topo->first + worker % topo->owned];
}

void *topo_handle(const struct topo *topo)
{
    return topo->handle;
}

struct writer {
    char *text;
    size_t size, length;
};

MT_PRINTF(2, 3) static void put(struct writer *writer, const char *format, ...)
{
    size_t used = MT_MIN(writer->length, writer->size);
    va_list args;
    va_start(args, format);
    writer->length += (size_t)vsnprintf(writer->size ? writer->text + used : NULL,
                                        writer->size - used, format, args);
    va_end(args);
}

static void put_set(struct writer *writer, hwloc_const_bitmap_t set)
{
    size_t used = MT_MIN(writer->length, writer->size);
    writer->length += (size_t)hwloc_bitmap_list_snprintf(writer->size ? writer->text + used : NULL,
                                                         writer->size - used, set);
}

int topo_describe(const struct topo *topo, char *text, size_t size)
{
    struct writer writer = {text, size, 0};
    put(&writer, "granted: %u cores, %u hardware threads: %s\n", topo->core_count,
        topo_pu_count(topo), topo->mask);
    put(&writer, "memory limit: ");
    if (topo->memory_limit_bytes == UINT64_MAX) {
        put(&writer, "none\n");
    } else {
        put(&writer, "%" PRIu64 " bytes\n", topo->memory_limit_bytes);
    }
    put(&writer, "share %u of %u: %u %s\n", topo->index, topo->sharers, topo->owned,
        topo->shared ? "shared" : "owned");
    for (unsigned worker = 0; worker < topo->owned; worker++) {
        put(&writer, "worker %u: ", worker);
        put_set(&writer, topo_worker_cpuset(topo, worker));
        put(&writer, "\n");
    }
    return (int)writer.length;
}
