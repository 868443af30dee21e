#include "core/spread.h"

#include "core/heirs.h"
#include "core/message.h"
#include "core/object.h"
#include "core/pin.h"
#include "core/replica.h"

/* Shorter chunks are not worth a rendezvous. */
enum { LENT_MIN = 32 * 1024 };

/* Who fetches one value. */
struct spread {
    struct lender lender; /* first; while it lends, the value is pinned */
    struct location of;
    bool is_freed; /* the value; the block goes with the last loan */
    uint32_t count, capacity;
    uint32_t *agents; /* in the order in which they came first */
};

static struct base_key key_of(const struct location *of)
{
    return (struct base_key){of->offset, of->rank};
}

/* ---- Who has it ----------------------------------------------------------------------------- */

static void free_block(struct rank *rank, struct spread *spread)
{
    spill_free(rank, &spread->of);
    base_free(spread->agents);
    base_free(spread);
}

static void no_loans(struct rank *rank, struct lender *lender)
{
    struct spread *spread = (struct spread *)lender;
    pin_drop(rank, &spread->of);
    if (spread->is_freed) {
        free_block(rank, spread);
    }
}

/* NULL: memory is out. */
static struct spread *find_or_make(struct rank *rank, const struct location *of)
{
    struct spread *spread = base_map_find(&rank->spreads, key_of(of));
    if (spread || !(spread = base_alloc(sizeof *spread))) {
        return spread;
    }
    spread->lender.over = no_loans;
    spread->of = *of;
    if (base_map_insert(&rank->spreads, key_of(of), spread) != MANTA_OK) {
        base_free(spread);
        return NULL;
    }
    return spread;
}

static bool add(struct spread *spread, uint32_t agent)
{
    if (spread->count == spread->capacity) {
        uint32_t capacity = MT_MAX(spread->capacity * 2, 4u);
        uint32_t *agents = base_realloc(spread->agents, spread->capacity * sizeof *agents,
                                        capacity * sizeof *agents);
        if (!agents) {
            return false;
        }
        spread->agents = agents;
        spread->capacity = capacity;
    }
    spread->agents[spread->count++] = agent;
    return true;
}

/* The rank to ask: this one, or one that came before. Memory being out, nobody is noted: who is not
 * told of the end keeps its copy a while longer. */
static uint32_t choose_source(struct rank *rank, struct spread *spread, uint32_t agent,
                              uint64_t bytes)
{
    uint32_t n = 0;
    while (n < spread->count && spread->agents[n] != agent) {
        n++;
    }
    if (n == spread->count && !add(spread, agent)) {
        return rank->number;
    }
    uint64_t chunks = (bytes + REPLICA_CHUNK_BYTES - 1) / REPLICA_CHUNK_BYTES;
    for (n = sched_source(n + 1, chunks); n; n = sched_source(n, chunks)) {
        if (!rank->down[spread->agents[n - 1]]) {
            return spread->agents[n - 1];
        }
    }
    return rank->number;
}

static void tell_freed(struct rank *rank, const struct spread *spread, const struct location *of)
{
    struct message_freed message = {.offset = of->offset};
    struct wire_header about = {.parent = of->parent, .position = of->position};
    for (uint32_t i = 0; i < spread->count; i++) {
        if (!rank->down[spread->agents[i]]) {
            message_send(rank, spread->agents[i], MESSAGE_FREED, about, &message, sizeof message);
        }
    }
}

bool spread_has(const struct rank *rank, const struct location *of)
{
    return rank->spreads.count && base_map_find(&rank->spreads, key_of(of));
}

void spread_free(struct rank *rank, const struct location *of)
{
    struct spread *spread =
        rank->spreads.count ? base_map_remove(&rank->spreads, key_of(of)) : NULL;
    if (!spread) {
        spill_free(rank, of);
        return;
    }
    tell_freed(rank, spread, of);
    spread->is_freed = true;
    if (spread->lender.count == 0) {
        free_block(rank, spread);
    }
}

/* ---- Loans ---------------------------------------------------------------------------------- */

struct chunk_loan {
    struct comm_loan loan; /* first */
    struct lender *lender;
};

void spread_returned(void *owner, struct comm_loan *loan)
{
    struct rank *rank = owner;
    struct lender *lender = ((struct chunk_loan *)loan)->lender;
    base_free(loan);
    rank->loans--;
    if (--lender->count == 0) {
        lender->over(rank, lender);
    }
}

static bool lend(struct rank *rank, uint32_t to, const struct comm_lent *lent,
                 struct lender *lender)
{
    struct chunk_loan *loan = base_alloc(sizeof *loan);
    if (!loan) {
        return false;
    }
    base_list_init(&loan->loan.link);
    loan->lender = lender;
    if (!comm_lend(rank->comm, to, lent, &loan->loan)) {
        base_free(loan);
        return false;
    }
    lender->count++;
    rank->loans++;
    rank->counted_sent++;
    return true;
}

/* ---- Answers -------------------------------------------------------------------------------- */

static void answer(struct rank *rank, uint32_t to, const struct wire_header *header,
                   const struct message_chunk *chunk, const void *data, size_t bytes)
{
    struct wire_header about = {.parent = header->parent, .position = header->position};
    uint8_t *out = message_begin(rank, to, MESSAGE_CHUNK, &about, sizeof *chunk + bytes);
    if (out) {
        wire_put_bytes(&out, chunk, sizeof *chunk);
        wire_put_bytes(&out, data, bytes);
        message_end(rank);
    }
}

void spread_send(struct rank *rank, uint32_t to, const struct wire_header *header, uint64_t from,
                 const void *data, size_t bytes, struct lender *lender)
{
    struct message_chunk chunk = {.from = from, .kind = CHUNK_DATA};
    struct comm_lent lent = {
        .header = {.parent = header->parent, .position = header->position, .kind = MESSAGE_CHUNK},
        .data = data,
        .bytes = bytes};
    _Static_assert(sizeof chunk == sizeof lent.head, "what goes before the bytes");
    memcpy(lent.head, &chunk, sizeof chunk);
    if (!lender || bytes < LENT_MIN || !lend(rank, to, &lent, lender)) {
        answer(rank, to, header, &chunk, data, bytes);
    }
}

void spread_send_gone(struct rank *rank, uint32_t to, const struct wire_header *header,
                      uint64_t from, int code)
{
    struct message_chunk chunk = {.from = from, .kind = CHUNK_GONE, .source = (uint32_t)-code};
    answer(rank, to, header, &chunk, NULL, 0);
}

/* A request for what is on the disk. */
struct postponed {
    struct spill_want want;
    struct wire_header header;
    struct message_fetch asked;
    uint32_t to;
};

static void serve(struct rank *rank, uint32_t to, const struct wire_header *header,
                  const struct message_fetch *asked);

static void serve_now(struct rank *rank, void *arg, int code)
{
    struct postponed *postponed = arg;
    if (code == MANTA_OK) {
        serve(rank, postponed->to, &postponed->header, &postponed->asked);
    } else {
        spread_send_gone(rank, postponed->to, &postponed->header, postponed->asked.from, code);
    }
    base_free(postponed);
}

/* MANTA_OK: it is here; MANTA_E_AGAIN: it is served when it is; or why not. */
static int bring(struct rank *rank, uint32_t to, const struct wire_header *header,
                 const struct message_fetch *asked, const struct location *of)
{
    struct store_place at = {comm_node_index(rank->comm, of->rank), of->offset};
    if (store_get_state(rank->options.store, at) == STORE_SEALED) {
        return MANTA_OK;
    }
    struct postponed *postponed = base_alloc(sizeof *postponed);
    if (!postponed) {
        return MANTA_E_NOMEM;
    }
    *postponed = (struct postponed){{.over = serve_now, .arg = postponed}, *header, *asked, to};
    base_list_init(&postponed->want.link);
    int code = spill_want(rank, of, &postponed->want);
    if (code != MANTA_E_AGAIN) {
        base_free(postponed);
    }
    return code;
}

/* To the agent, or to where it is pointed. */
static void serve_value(struct rank *rank, uint32_t to, const struct wire_header *header,
                        const struct message_fetch *asked, const struct location *of,
                        const uint8_t *data)
{
    struct spread *spread = find_or_make(rank, of);
    uint32_t source = spread && asked->may_point
                          ? choose_source(rank, spread, to, asked->value_bytes)
                          : rank->number;
    if (source != rank->number) {
        struct message_chunk chunk = {.from = asked->from, .kind = CHUNK_ASK, .source = source};
        answer(rank, to, header, &chunk, NULL, 0);
        return;
    }
    struct pin_wait unused;
    bool may_lend = spread && (spread->lender.count || pin_take(rank, of, &unused) == MANTA_OK);
    rank->stats.chunks_sent++;
    spread_send(rank, to, header, asked->from, data + asked->from, asked->bytes,
                may_lend ? &spread->lender : NULL);
    if (may_lend && spread->lender.count == 0) {
        pin_drop(rank, of);
    }
}

static void serve(struct rank *rank, uint32_t to, const struct wire_header *header,
                  const struct message_fetch *asked)
{
    struct store_tag tag = {.parent = header->parent, .position = header->position};
    struct location of = {header->parent, header->position, asked->share, asked->offset,
                          asked->value_bytes};
    const uint8_t *data = NULL;
    int code = MANTA_E_LOST;
    if (rank->options.store && comm_node_index(rank->comm, asked->share) != COMM_ELSEWHERE) {
        data = store_find(rank->options.store, comm_node_index(rank->comm, asked->share),
                          asked->offset, &tag, asked->from + asked->bytes);
    }
    if (data) {
        code = bring(rank, to, header, asked, &of);
    }
    if (code == MANTA_OK) {
        serve_value(rank, to, header, asked, &of, data);
    } else if (code != MANTA_E_AGAIN) {
        spread_send_gone(rank, to, header, asked->from, code);
    }
}

void spread_on_fetch(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct message_fetch asked;
    const void *bytes = wire_take(body, sizeof asked);
    if (!bytes) {
        return;
    }
    memcpy(&asked, bytes, sizeof asked);
    if (asked.bytes > REPLICA_CHUNK_BYTES || asked.from > UINT64_MAX - asked.bytes ||
        asked.share >= rank->size) {
        body->failed = true;
    } else if (!replica_serve(rank, from, header, &asked)) {
        serve(rank, from, header, &asked);
    }
}
