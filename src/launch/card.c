/*
 * Cards are compared by every rank in the same way, against rank 0's, so all come to the same
 * verdict without another exchange. The split of cores is computed from the cards too: each rank
 * knows the place of every other one, hence whether the node is crowded. O(ranks^2) comparisons of
 * one word, once per job and node.
 */
#include "launch/card.h"

#include "base/alloc.h"
#include "base/map.h"
#include "core/registry.h"
#include "wire/wire.h"

#include <manta/manta.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY_VERSION                                                                            \
    (MANTA_VERSION_MAJOR * 1000000u + MANTA_VERSION_MINOR * 1000u + MANTA_VERSION_PATCH)

static uint64_t digest(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    return hash;
}

static uint64_t read_space(const char *path)
{
    struct stat space;
    return stat(path, &space) == 0 ? (uint64_t)space.st_ino : 0;
}

/* Abstract sockets reach as far as the network namespace of one running kernel. */
static uint64_t read_machine(void)
{
    char id[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        (void)!fgets(id, sizeof id, file);
        fclose(file);
    }
    return base_mix64(digest(id) ^ read_space("/proc/self/ns/net"));
}

void card_fill(struct card *card, const struct base_host *host, const struct topo *topo,
               uint32_t workers)
{
    card->magic = CARD_MAGIC;
    card->byte_order = CARD_ORDER;
    card->pointer_bytes = sizeof(void *);
    card->library_version = LIBRARY_VERSION;
    card->wire_version = WIRE_VERSION;
    card->functions = registry_digest();
    card->workers = workers;
    card->mask = topo ? digest(topo_mask_string(topo)) : 0;
    card->mask_cores = topo ? topo_core_count(topo) : 1;
    card->pid = (uint32_t)getpid();
    card->pid_space = read_space("/proc/self/ns/pid");
    card->machine = read_machine();
    for (int i = 0; i < 2; i++) {
        card->socket_name[i] = host->random(host->self);
    }
    for (size_t i = 0; i < sizeof card->secret; i += sizeof(uint64_t)) {
        uint64_t word = host->random(host->self);
        memcpy(card->secret + i, &word, sizeof word);
    }
    gethostname(card->host, sizeof card->host - 1);
}

static void write_version(const struct card *card, char *text, size_t size)
{
    snprintf(text, size, "%u.%u.%u (wire %u, %u-bit)", card->library_version / 1000000,
             card->library_version / 1000 % 1000, card->library_version % 1000, card->wire_version,
             card->pointer_bytes * 8);
}

static int check_version(const struct card *first, const struct card *other, uint32_t rank,
                         char *text, size_t size)
{
    char ours[64], theirs[64];
    if (other->magic != CARD_MAGIC || other->byte_order != first->byte_order) {
        snprintf(text, size, "rank %u speaks another byte order or is no Manta program", rank);
        return MANTA_E_VERSION;
    }
    if (other->library_version == first->library_version &&
        other->wire_version == first->wire_version &&
        other->pointer_bytes == first->pointer_bytes) {
        return MANTA_OK;
    }
    write_version(first, ours, sizeof ours);
    write_version(other, theirs, sizeof theirs);
    snprintf(text, size, "rank 0 runs Manta %s, rank %u runs %s: install one version everywhere",
             ours, rank, theirs);
    return MANTA_E_VERSION;
}

static int check_one(const struct card *first, const struct card *other, uint32_t rank, char *text,
                     size_t size)
{
    int code = check_version(first, other, rank, text, size);
    if (code != MANTA_OK) {
        return code;
    }
    if (other->code) {
        snprintf(text, size, "rank %u on %.*s: %.*s", rank, MANTA_ERROR_HOST_MAX - 1, other->host,
                 MANTA_ERROR_TEXT_MAX - 1, other->text);
        return other->code;
    }
    return MANTA_OK;
}

int cards_check(const union card_page *cards, uint32_t size, uint32_t *ret_functions_differ,
                char *text, size_t text_size)
{
    uint32_t differs = 0;
    for (uint32_t rank = 0; rank < size; rank++) {
        int code = check_one(&cards[0].card, &cards[rank].card, rank, text, text_size);
        if (code != MANTA_OK) {
            return code;
        }
        if (!differs && cards[rank].card.functions != cards[0].card.functions) {
            differs = rank;
        }
    }
    *ret_functions_differ = differs;
    return MANTA_OK;
}

bool card_is_near(const struct card *a, const struct card *b)
{
    return a->machine == b->machine && strncmp(a->host, b->host, sizeof a->host) == 0;
}

union card_page *cards_of_node(const union card_page *cards, uint32_t size, uint32_t rank,
                               uint32_t *ret_index, uint32_t *ret_size)
{
    uint32_t count = 0;
    for (uint32_t other = 0; other < size; other++) {
        count += card_is_near(&cards[other].card, &cards[rank].card);
    }
    union card_page *node = base_alloc(count * sizeof *node);
    *ret_size = count;
    for (uint32_t other = 0, at = 0; node && other < size; other++) {
        if (other == rank) {
            *ret_index = at;
        }
        if (card_is_near(&cards[other].card, &cards[rank].card)) {
            node[at++] = cards[other];
        }
    }
    return node;
}

uint32_t *cards_nodes(const union card_page *cards, uint32_t size)
{
    uint32_t *nodes = base_alloc(size * sizeof *nodes);
    uint32_t *lowest = base_alloc(size * sizeof *lowest), count = 0;
    for (uint32_t rank = 0; nodes && lowest && rank < size; rank++) {
        uint32_t at = 0;
        while (at < count && !card_is_near(&cards[lowest[at]].card, &cards[rank].card)) {
            at++;
        }
        if (at == count) {
            lowest[count++] = rank;
        }
        nodes[rank] = lowest[at];
    }
    if (!lowest) {
        base_free(nodes);
        nodes = NULL;
    }
    base_free(lowest);
    return nodes;
}

static void find_share(const union card_page *cards, uint32_t size, uint32_t rank,
                       struct place *place)
{
    uint64_t cores = cards[rank].card.mask_cores;
    for (uint32_t other = 0; other < size; other++) {
        if (cards[other].card.mask == cards[rank].card.mask) {
            place->index += other < rank;
            place->sharers++;
        }
    }
    /* As topo_share splits. */
    place->cores = place->sharers > cores
                       ? 1
                       : (uint32_t)((place->index + UINT64_C(1)) * cores / place->sharers -
                                    place->index * cores / place->sharers);
}

static bool is_first_of_mask(const union card_page *cards, uint32_t rank)
{
    for (uint32_t other = 0; other < rank; other++) {
        if (cards[other].card.mask == cards[rank].card.mask) {
            return false;
        }
    }
    return true;
}

struct place cards_place(const union card_page *cards, uint32_t size, uint32_t rank)
{
    uint64_t workers = 0, cores = 0;
    struct place mine = {0};
    for (uint32_t other = 0; other < size; other++) {
        struct place place = {0};
        find_share(cards, size, other, &place);
        place.workers = cards[other].card.workers ? cards[other].card.workers : place.cores;
        workers += place.workers;
        cores += is_first_of_mask(cards, other) ? cards[other].card.mask_cores : 0;
        if (other == rank) {
            mine = place;
        }
    }
    mine.is_crowded = workers > cores;
    return mine;
}
