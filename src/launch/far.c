/*
 * Addresses of UCX differ in length from rank to rank, with the number of networks of the host. So
 * two exchanges: what everybody has and how long it is, then the bytes, padded to the longest.
 */
#include "launch/far.h"

#ifdef HAVE_UCX

#include "base/alloc.h"
#include "comm/backends.h"

#include <stdio.h>
#include <string.h>

struct far {
    struct comm *comm; /* NULL: joined, or not made */
    struct comm_ucx_table table;
    struct comm_ucx_entry *entries;
    uint8_t *bytes;
};

struct head {
    int32_t code;
    uint32_t bytes;
    uint64_t incarnation;
};

static int make_end(const struct base_host *host, const struct boot *boot,
                    const union card_page *cards, struct far *far, struct head *head)
{
    struct comm_ucx_options options = {.host = host,
                                       .rank = boot->rank,
                                       .ranks = boot->size,
                                       .incarnation = host->random(host->self),
                                       .secret = cards[0].card.secret};
    size_t bytes = 0;
    head->code = comm_create_ucx(&options, &far->comm);
    head->incarnation = options.incarnation;
    if (head->code == MANTA_OK) {
        (void)comm_ucx_address(far->comm, &bytes);
    }
    head->bytes = (uint32_t)bytes;
    return head->code;
}

static int check_heads(const struct head *heads, const union card_page *cards, uint32_t size,
                       uint32_t *ret_longest, char *text, size_t text_size)
{
    *ret_longest = 0;
    for (uint32_t rank = 0; rank < size; rank++) {
        if (heads[rank].code) {
            snprintf(text, text_size,
                     "rank %u on %s cannot open UCX, the transport between hosts: see "
                     "UCX_LOG_LEVEL and `ucx_info -d`",
                     rank, cards[rank].card.host);
            return heads[rank].code;
        }
        *ret_longest = MT_MAX(*ret_longest, heads[rank].bytes);
    }
    return MANTA_OK;
}

static int exchange_bytes(const struct boot *boot, struct far *far, const struct head *heads,
                          uint32_t longest, uint64_t timeout_ns)
{
    size_t bytes;
    const void *address = comm_ucx_address(far->comm, &bytes);
    uint8_t *mine = base_alloc(longest);
    far->bytes = base_alloc((size_t)longest * boot->size);
    far->entries = base_alloc(boot->size * sizeof *far->entries);
    int code = mine && far->bytes && far->entries ? MANTA_OK : MANTA_E_NOMEM;
    if (code == MANTA_OK) {
        memcpy(mine, address, bytes);
        code = boot->allgather(mine, longest, far->bytes, timeout_ns);
    }
    for (uint32_t rank = 0; code == MANTA_OK && rank < boot->size; rank++) {
        far->entries[rank] = (struct comm_ucx_entry){.incarnation = heads[rank].incarnation,
                                                     .offset = rank * longest,
                                                     .bytes = heads[rank].bytes};
    }
    base_free(mine);
    return code;
}

static int exchange(const struct base_host *host, const struct boot *boot,
                    const union card_page *cards, struct head *heads, uint64_t timeout_ns,
                    struct far *far, char *text, size_t text_size)
{
    struct head mine = {0};
    uint32_t longest;
    (void)make_end(host, boot, cards, far, &mine); /* the exchange tells all of it */
    int code = boot->allgather(&mine, sizeof mine, heads, timeout_ns);
    if (code == MANTA_OK) {
        code = check_heads(heads, cards, boot->size, &longest, text, text_size);
        if (code != MANTA_OK) {
            return code;
        }
        code = exchange_bytes(boot, far, heads, longest, timeout_ns);
    }
    if (code != MANTA_OK) {
        snprintf(text, text_size, "the ranks did not exchange their addresses in time");
        return code;
    }
    far->table = (struct comm_ucx_table){.bytes = far->bytes, .entries = far->entries};
    comm_ucx_set_table(far->comm, &far->table);
    return MANTA_OK;
}

int far_open(const struct base_host *host, const struct boot *boot, const union card_page *cards,
             uint64_t timeout_ns, struct far **ret_far, char *text, size_t text_size)
{
    struct far *far = base_alloc(sizeof *far);
    struct head *heads = base_alloc(boot->size * sizeof *heads);
    int code = MANTA_E_NOMEM;
    snprintf(text, text_size, "no memory for the addresses of %u ranks", boot->size);
    if (far && heads) {
        code = exchange(host, boot, cards, heads, timeout_ns, far, text, text_size);
    }
    base_free(heads);
    if (code != MANTA_OK) {
        far_close(far);
        return code;
    }
    *ret_far = far;
    return MANTA_OK;
}

int far_join(struct far *far, struct comm *near, const union card_page *node_cards,
             uint32_t node_size, struct comm **ret_comm)
{
    uint32_t *ranks = base_alloc(node_size * sizeof *ranks);
    struct comm *ucx = far->comm;
    if (!ranks) {
        comm_destroy(near);
        return MANTA_E_NOMEM;
    }
    for (uint32_t i = 0; i < node_size; i++) {
        ranks[i] = node_cards[i].card.rank;
    }
    far->comm = NULL;
    int code = comm_create_routed(near, ranks, ucx, ret_comm);
    base_free(ranks);
    return code;
}

void far_close(struct far *far)
{
    if (far) {
        comm_destroy(far->comm);
        base_free(far->entries);
        base_free(far->bytes);
        base_free(far);
    }
}

#else

int far_open(const struct base_host *host, const struct boot *boot, const union card_page *cards,
             uint64_t timeout_ns, struct far **ret_far, char *text, size_t text_size)
{
    return MANTA_E_LAUNCH; /* cards_check has said why */
}

int far_join(struct far *far, struct comm *near, const union card_page *node_cards,
             uint32_t node_size, struct comm **ret_comm)
{
    return MANTA_E_LAUNCH;
}

void far_close(struct far *far)
{
}

#endif
