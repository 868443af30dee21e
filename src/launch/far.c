/*
 * Addresses of UCX differ in length from rank to rank, with the number of networks of the host. So
 * they come after an exchange of heads: what everybody has and how long it is. A rank that has
 * nothing, not even the plugin, says why in its head. Only then can memory for all addresses be
 * asked for; heads are exchanged once more, in case a rank has none, and last the bytes, padded to
 * the longest. A rank that left out an exchange would let the others wait until their time is over.
 */
#include "launch/far.h"

#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/ucx_plugin.h"
#include "launch/plugin.h"

#include <stdio.h>
#include <string.h>

struct far {
    const struct ucx_plugin *plugin;
    const union card_page *cards;
    uint32_t rank, size;
    struct comm *comm; /* NULL: not made */
    bool is_joined;    /* then it is its router's */
    struct comm_ucx_table table;
    struct comm_ucx_entry *entries;
    uint8_t *bytes;
};

struct head {
    int32_t code;
    uint32_t bytes;
    uint64_t incarnation;
    char text[MANTA_ERROR_TEXT_MAX + 128]; /* why not */
};

static const struct plugin ucx = {.file = "libmanta_ucx.so",
                                  .directory = "ucx",
                                  .variable = "MANTA_UCX_LIBRARY",
                                  .symbol = UCX_PLUGIN_SYMBOL,
                                  .part = "UCX",
                                  .version = UCX_PLUGIN_VERSION,
                                  .reach = PLUGIN_LOCAL};

static const struct ucx_host library = {.base_alloc = base_alloc,
                                        .base_alloc_aligned = base_alloc_aligned,
                                        .base_free = base_free,
                                        .comm_init = comm_init,
                                        .comm_destroy = comm_destroy,
                                        .comm_mark_down = comm_mark_down,
                                        .comm_peer_get = comm_peer_get,
                                        .comm_peer_broken = comm_peer_broken,
                                        .comm_receive_fragment = comm_receive_fragment};

static void make_end(const struct far_options *wanted, struct far *far, struct head *head)
{
    const struct base_host *host = wanted->host;
    struct comm_ucx_options options = {.host = host,
                                       .rank = far->rank,
                                       .ranks = far->size,
                                       .incarnation = base_since_1970_ns(),
                                       .secret = far->cards[0].card.secret,
                                       .expects_rdma = wanted->expects_rdma};
    size_t bytes;
    far->plugin = plugin_load(&ucx, head->text, sizeof head->text);
    if (!far->plugin) {
        head->code = MANTA_E_LAUNCH;
        return;
    }
    far->plugin->start(&library);
    head->incarnation = options.incarnation;
    head->code = far->plugin->create(&options, &far->comm);
    if (head->code) {
        snprintf(head->text, sizeof head->text,
                 "cannot open UCX (%s): see UCX_LOG_LEVEL and `ucx_info -d`",
                 manta_error_name(head->code));
        return;
    }
    (void)far->plugin->address(far->comm, &bytes);
    head->bytes = (uint32_t)bytes;
}

/* The first that failed speaks for all. */
static int check_heads(const struct head *heads, const struct far *far, uint32_t *ret_longest,
                       char *text, size_t text_size)
{
    *ret_longest = 0;
    for (uint32_t rank = 0; rank < far->size; rank++) {
        if (heads[rank].code) {
            snprintf(text, text_size,
                     "the ranks are on several hosts, and rank %u on %.*s %.*s; or start all ranks "
                     "on one host",
                     rank, MANTA_ERROR_HOST_MAX - 1, far->cards[rank].card.host,
                     (int)sizeof heads[rank].text - 1, heads[rank].text);
            return heads[rank].code;
        }
        *ret_longest = MT_MAX(*ret_longest, heads[rank].bytes);
    }
    return MANTA_OK;
}

static int tell_exchange(int code, char *text, size_t text_size)
{
    snprintf(text, text_size, "%s",
             code == MANTA_E_TIMEOUT
                 ? "the ranks did not exchange their addresses in time (MANTA_LAUNCH_TIMEOUT)"
                 : "the exchange of the ranks' addresses failed");
    return code;
}

/* Every rank's head, all of them good. Collective. */
static int exchange_heads(const struct far_options *options, const struct head *mine,
                          struct head *heads, struct far *far, uint32_t *ret_longest, char *text,
                          size_t text_size)
{
    int code = options->boot->allgather(mine, sizeof *mine, heads, options->timeout_ns);
    if (code != MANTA_OK) {
        return tell_exchange(code, text, text_size);
    }
    return check_heads(heads, far, ret_longest, text, text_size);
}

/* Fills in what of the table the heads say. */
static void make_room(struct far *far, const struct head *heads, uint32_t longest,
                      struct head *mine)
{
    far->bytes = base_alloc((size_t)longest * (far->size + 1));
    far->entries = base_alloc(far->size * sizeof *far->entries);
    if (!far->bytes || !far->entries) {
        mine->code = MANTA_E_NOMEM;
        snprintf(mine->text, sizeof mine->text, "has no memory for the addresses of %u ranks",
                 far->size);
        return;
    }
    for (uint32_t rank = 0; rank < far->size; rank++) {
        far->entries[rank] = (struct comm_ucx_entry){.incarnation = heads[rank].incarnation,
                                                     .offset = rank * longest,
                                                     .bytes = heads[rank].bytes};
    }
}

static int exchange_bytes(const struct far_options *options, struct far *far, uint32_t longest,
                          char *text, size_t text_size)
{
    size_t bytes;
    const void *address = far->plugin->address(far->comm, &bytes);
    uint8_t *mine = far->bytes + (size_t)longest * far->size;
    memcpy(mine, address, bytes);
    int code = options->boot->allgather(mine, longest, far->bytes, options->timeout_ns);
    return code ? tell_exchange(code, text, text_size) : MANTA_OK;
}

static int exchange(const struct far_options *options, struct head *heads, struct far *far,
                    char *text, size_t text_size)
{
    struct head mine = {0};
    uint32_t longest;
    make_end(options, far, &mine);
    int code = exchange_heads(options, &mine, heads, far, &longest, text, text_size);
    if (code == MANTA_OK) {
        make_room(far, heads, longest, &mine);
        code = exchange_heads(options, &mine, heads, far, &longest, text, text_size);
    }
    if (code == MANTA_OK) {
        code = exchange_bytes(options, far, longest, text, text_size);
    }
    if (code != MANTA_OK) {
        return code;
    }
    far->table = (struct comm_ucx_table){.bytes = far->bytes, .entries = far->entries};
    far->plugin->set_table(far->comm, &far->table);
    return MANTA_OK;
}

int far_open(const struct far_options *options, struct far **ret_far, char *text, size_t text_size)
{
    const struct boot *boot = options->boot;
    struct far *far = base_alloc(sizeof *far);
    struct head *heads = base_alloc(boot->size * sizeof *heads);
    int code = MANTA_E_NOMEM;
    snprintf(text, text_size, "no memory for the addresses of %u ranks", boot->size);
    if (far && heads) {
        far->cards = options->cards;
        far->rank = boot->rank;
        far->size = boot->size;
        code = exchange(options, heads, far, text, text_size);
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
    if (!ranks) {
        comm_destroy(near);
        return MANTA_E_NOMEM;
    }
    for (uint32_t i = 0; i < node_size; i++) {
        ranks[i] = node_cards[i].card.rank;
    }
    far->is_joined = true;
    int code = comm_create_routed(near, ranks, far->comm, ret_comm);
    base_free(ranks);
    return code;
}

bool far_take_warning(struct far *far, char *text, size_t text_size)
{
    return far->plugin->take_warning(far->comm, text, text_size);
}

static bool is_of_same_way(const struct far *far, uint32_t a, uint32_t b)
{
    struct comm_ucx_way way_a, way_b;
    bool has_a = far->plugin->way(far->comm, a, &way_a);
    bool has_b = far->plugin->way(far->comm, b, &way_b);
    return card_is_near(&far->cards[a].card, &far->cards[b].card) && has_a == has_b &&
           (!has_a || memcmp(&way_a, &way_b, sizeof way_a) == 0);
}

static bool is_first(const struct far *far, uint32_t rank)
{
    uint32_t before = 0;
    while (before < rank && !is_of_same_way(far, before, rank)) {
        before++;
    }
    return before == rank && !card_is_near(&far->cards[rank].card, &far->cards[far->rank].card);
}

static void report_way(const struct far *far, uint32_t first, const struct base_log *log)
{
    struct comm_ucx_way way;
    uint32_t count = 0;
    for (uint32_t rank = first; rank < far->size; rank++) {
        count += is_of_same_way(far, first, rank);
    }
    const char *own = far->cards[far->rank].card.host, *host = far->cards[first].card.host;
    const char *plural = count > 1 ? "s" : "";
    if (far->plugin->way(far->comm, first, &way)) {
        base_log(log, BASE_LOG_INFO,
                 "rank %u on %s reaches %u rank%s on %s, from rank %u, by %s over %s", far->rank,
                 own, count, plural, host, first, way.transport, way.device);
    } else {
        base_log(log, BASE_LOG_INFO, "rank %u on %s has not called %u rank%s on %s, from rank %u",
                 far->rank, own, count, plural, host, first);
    }
}

static void report_near(const struct far *far, const struct base_log *log)
{
    uint32_t count = 0;
    for (uint32_t rank = 0; rank < far->size; rank++) {
        count +=
            rank != far->rank && card_is_near(&far->cards[rank].card, &far->cards[far->rank].card);
    }
    if (count) {
        base_log(log, BASE_LOG_INFO, "rank %u on %s reaches %u rank%s here by shared memory",
                 far->rank, far->cards[far->rank].card.host, count, count > 1 ? "s" : "");
    }
}

void far_report(const struct far *far, const struct base_log *log)
{
    report_near(far, log);
    for (uint32_t rank = 0; rank < far->size; rank++) {
        if (is_first(far, rank)) {
            report_way(far, rank, log);
        }
    }
}

void far_close(struct far *far)
{
    if (far) {
        if (!far->is_joined) {
            comm_destroy(far->comm);
        }
        base_free(far->entries);
        base_free(far->bytes);
        base_free(far);
    }
}
