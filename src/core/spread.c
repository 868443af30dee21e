#include "core/spread.h"

#include "core/message.h"
#include "core/object.h"
#include "core/replica.h"

/* Who fetches one value. */
struct spread {
    uint32_t count, capacity;
    uint32_t *agents; /* in the order in which they came first */
};

static struct base_key key_of(uint64_t offset)
{
    return (struct base_key){offset, 0};
}

/* ---- Who has it ----------------------------------------------------------------------------- */

static struct spread *find_or_make(struct rank *rank, uint64_t offset)
{
    struct spread *spread = base_map_find(&rank->spreads, key_of(offset));
    if (!spread && (spread = base_alloc(sizeof *spread)) &&
        base_map_insert(&rank->spreads, key_of(offset), spread) != MANTA_OK) {
        base_free(spread);
        spread = NULL;
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
static uint32_t choose_source(struct rank *rank, uint32_t agent, const struct message_fetch *asked,
                              uint64_t bytes)
{
    struct spread *spread = find_or_make(rank, asked->offset);
    uint32_t n = 0;
    while (spread && n < spread->count && spread->agents[n] != agent) {
        n++;
    }
    if (!spread || (n == spread->count && !add(spread, agent))) {
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

void spread_end(struct rank *rank, const struct location *of)
{
    struct spread *spread =
        rank->spreads.count ? base_map_remove(&rank->spreads, key_of(of->offset)) : NULL;
    struct message_freed message = {.offset = of->offset};
    struct wire_header about = {.parent = of->parent, .position = of->position};
    for (uint32_t i = 0; spread && i < spread->count; i++) {
        if (!rank->down[spread->agents[i]]) {
            message_send(rank, spread->agents[i], MESSAGE_FREED, about, &message, sizeof message);
        }
    }
    if (spread) {
        base_free(spread->agents);
        base_free(spread);
    }
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
                 const void *data, size_t bytes)
{
    struct message_chunk chunk = {.from = from, .kind = CHUNK_DATA};
    answer(rank, to, header, &chunk, data, bytes);
}

void spread_send_gone(struct rank *rank, uint32_t to, const struct wire_header *header,
                      uint64_t from)
{
    struct message_chunk chunk = {.from = from, .kind = CHUNK_GONE};
    answer(rank, to, header, &chunk, NULL, 0);
}

static void serve(struct rank *rank, uint32_t to, const struct wire_header *header,
                  const struct message_fetch *asked)
{
    struct store_tag tag = {.parent = header->parent, .position = header->position};
    const uint8_t *data = NULL;
    if (rank->options.store && asked->share == rank->number) {
        data = store_find(rank->options.store, asked->offset, &tag, asked->from + asked->bytes);
    }
    if (!data) {
        spread_send_gone(rank, to, header, asked->from);
        return;
    }
    uint32_t source =
        asked->may_point ? choose_source(rank, to, asked, asked->value_bytes) : rank->number;
    if (source != rank->number) {
        struct message_chunk chunk = {.from = asked->from, .kind = CHUNK_ASK, .source = source};
        answer(rank, to, header, &chunk, NULL, 0);
        return;
    }
    rank->stats.chunks_sent++;
    spread_send(rank, to, header, asked->from, data + asked->from, asked->bytes);
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
    if (asked.bytes > REPLICA_CHUNK_BYTES || asked.from > UINT64_MAX - asked.bytes) {
        body->failed = true;
    } else if (asked.share == rank->number ||
               !replica_serve(rank, from, header, asked.from, asked.bytes)) {
        serve(rank, from, header, &asked);
    }
}
