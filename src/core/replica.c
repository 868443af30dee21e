#include "core/replica.h"

#include "core/heirs.h"
#include "core/message.h"
#include "core/object.h"
#include "core/room.h"
#include "core/spill.h"
#include "core/spread.h"

enum { CHUNKS_ASKED = 8 };

struct replica {
    struct lender lender;  /* first; chunks that come in count too */
    struct base_list link; /* idle, failing or gone */
    struct location of;
    struct room_wait room_wait; /* while there is no room for it */
    struct store_room room;     /* data NULL: not yet */
    uint64_t offset;            /* of the block, when it is sealed */
    uint64_t *have;             /* bit by chunk */
    struct base_list readers;   /* of struct reader */
    struct base_list asks;      /* of struct ask: for chunks that are not here yet */
    uint64_t chunks, missing;
    uint64_t next;      /* chunk to be asked for */
    uint32_t under_way; /* asked of source */
    uint32_t source;
    bool is_here;
    bool is_idle;
    bool is_freed; /* by the maker */
    bool is_failing;
    bool is_gone; /* in no map: the block goes with the last chunk under way */
};

/* A rank of this node. */
struct reader {
    struct base_list link;
    uint32_t rank, token;
};

/* An agent of another node, which waits for a chunk. */
struct ask {
    struct base_list link;
    uint32_t rank;
    uint64_t chunk;
};

static struct replica *find(struct rank *rank, const struct wire_header *header)
{
    return base_map_find(&rank->replicas, core_key(header->parent, header->position));
}

static struct wire_header about(const struct replica *replica)
{
    return (struct wire_header){.parent = replica->of.parent, .position = replica->of.position};
}

/* Who answers for the value itself; UINT32_MAX: nobody. */
static uint32_t maker_of(const struct rank *rank, const struct replica *replica)
{
    return heirs_server(rank, replica->of.rank);
}

static uint64_t chunk_bytes(const struct replica *replica, uint64_t chunk)
{
    uint64_t from = chunk * REPLICA_CHUNK_BYTES;
    return MT_MIN(replica->of.bytes - from, (uint64_t)REPLICA_CHUNK_BYTES);
}

static bool has(const struct replica *replica, uint64_t chunk)
{
    return replica->have[chunk / 64] >> chunk % 64 & 1;
}

/* ---- Its end -------------------------------------------------------------------------------- */

static void tell_reader(struct rank *rank, const struct replica *replica,
                        const struct reader *reader, int code)
{
    struct message_here here = {.offset = replica->offset, .code = code};
    struct wire_header header = about(replica);
    header.token = reader->token;
    message_send(rank, reader->rank, MESSAGE_HERE, header, &here, sizeof here);
}

static void refuse_asks(struct rank *rank, struct replica *replica)
{
    struct wire_header header = about(replica);
    struct base_list *link;
    while ((link = base_list_pop_front(&replica->asks))) {
        struct ask *ask = MT_CONTAINER(link, struct ask, link);
        spread_send_gone(rank, ask->rank, &header, ask->chunk * REPLICA_CHUNK_BYTES, MANTA_E_LOST);
        base_free(ask);
    }
}

static void free_block(struct rank *rank, struct replica *replica)
{
    base_list_remove(&replica->link);
    if (replica->is_here) {
        store_free(rank->options.store, replica->offset);
    } else if (replica->room.data) {
        store_abandon(rank->options.store, &replica->room);
    }
    spill_show(rank);
    base_free(replica->have);
    base_free(replica);
}

static void end_idle(struct rank *rank, struct replica *replica)
{
    if (replica->is_idle) {
        replica->is_idle = false;
        rank->idle_replica_bytes -= replica->of.bytes;
    }
    base_list_remove(&replica->link);
}

/* Nobody reads it. */
static void destroy(struct rank *rank, struct replica *replica)
{
    refuse_asks(rank, replica);
    room_end(&replica->room_wait);
    end_idle(rank, replica);
    base_map_remove(&rank->replicas, core_key(replica->of.parent, replica->of.position));
    replica->is_gone = true;
    if (replica->lender.count) {
        base_list_push_back(&rank->gone_replicas, &replica->link);
    } else {
        free_block(rank, replica);
    }
}

static void fail(struct rank *rank, struct replica *replica, int code)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&replica->readers))) {
        struct reader *reader = MT_CONTAINER(link, struct reader, link);
        tell_reader(rank, replica, reader, code);
        base_free(reader);
    }
    destroy(rank, replica);
}

/* Somebody has stopped reading, or the last chunk is here. */
static void check_idle(struct rank *rank, struct replica *replica)
{
    if (!replica->is_here || !base_list_is_empty(&replica->readers) || replica->lender.count) {
        return;
    }
    if (replica->is_freed) {
        destroy(rank, replica);
    } else if (!replica->is_idle) {
        replica->is_idle = true;
        rank->idle_replica_bytes += replica->of.bytes;
        base_list_push_back(&rank->idle_replicas, &replica->link);
        spill_show(rank);
    }
}

static void no_chunks(struct rank *rank, struct lender *lender)
{
    struct replica *replica = (struct replica *)lender;
    if (replica->is_gone) {
        free_block(rank, replica);
    } else {
        check_idle(rank, replica);
    }
}

uint64_t fetch_evict(struct rank *rank, uint64_t bytes)
{
    uint64_t freed = 0;
    while (freed < bytes && !base_list_is_empty(&rank->idle_replicas)) {
        struct replica *replica = MT_CONTAINER(rank->idle_replicas.next, struct replica, link);
        freed += replica->of.bytes;
        rank->stats.evicted++;
        rank->stats.evicted_bytes += replica->of.bytes;
        destroy(rank, replica);
    }
    return freed;
}

void replica_drop_idle(struct rank *rank)
{
    while (!base_list_is_empty(&rank->idle_replicas)) {
        destroy(rank, MT_CONTAINER(rank->idle_replicas.next, struct replica, link));
    }
}

/* ---- Asking for chunks ---------------------------------------------------------------------- */

static void ask(struct rank *rank, struct replica *replica, uint64_t chunk, bool may_point)
{
    struct message_fetch message = {.offset = replica->of.offset,
                                    .value_bytes = replica->of.bytes,
                                    .from = chunk * REPLICA_CHUNK_BYTES,
                                    .bytes = chunk_bytes(replica, chunk),
                                    .share = replica->of.rank,
                                    .may_point = may_point};
    replica->under_way++;
    message_send(rank, replica->source, MESSAGE_FETCH, about(replica), &message, sizeof message);
}

static void ask_more(struct rank *rank, struct replica *replica)
{
    for (; replica->next < replica->chunks && replica->under_way < CHUNKS_ASKED; replica->next++) {
        if (!has(replica, replica->next)) {
            ask(rank, replica, replica->next, false);
        }
    }
}

/* What is missing, from now on of this one. */
static void ask_at(struct rank *rank, struct replica *replica, uint32_t source)
{
    replica->source = source;
    replica->next = 0;
    replica->under_way = 0;
    if (replica->room.data) {
        ask_more(rank, replica);
    }
}

/* The source has it not. False: nobody has. */
static bool ask_maker(struct rank *rank, struct replica *replica)
{
    uint32_t maker = maker_of(rank, replica);
    if (replica->source == maker || maker == UINT32_MAX) {
        return false;
    }
    ask_at(rank, replica, maker);
    return true;
}

/* Its block. MANTA_E_LIMIT: not now. */
static int take_room(struct rank *rank, struct replica *replica)
{
    struct store_tag tag = {replica->of.parent, replica->of.position, REPLICA_TAG};
    struct store_room room;
    int code = store_create(rank->options.store, replica->of.bytes, &tag, &room);
    if (code == MANTA_OK) {
        replica->room = room;
        ask(rank, replica, replica->next++, true);
    }
    return code;
}

static void try_room(struct rank *rank, void *arg)
{
    struct replica *replica = arg;
    int code = take_room(rank, replica);
    if (code != MANTA_E_LIMIT) {
        room_end(&replica->room_wait);
    }
    if (code != MANTA_OK && code != MANTA_E_LIMIT) {
        fail(rank, replica, code);
    }
}

static void refuse_room(struct rank *rank, void *arg, int code)
{
    fail(rank, arg, code);
}

static void init_replica(struct rank *rank, struct replica *replica, const struct location *of)
{
    replica->of = *of;
    replica->source = maker_of(rank, replica);
    replica->lender.over = no_chunks;
    replica->chunks = (of->bytes + REPLICA_CHUNK_BYTES - 1) / REPLICA_CHUNK_BYTES;
    replica->missing = replica->chunks;
    replica->room_wait = (struct room_wait){
        .bytes = of->bytes, .try = try_room, .refuse = refuse_room, .arg = replica};
    base_list_init(&replica->room_wait.link);
    base_list_init(&replica->link);
    base_list_init(&replica->readers);
    base_list_init(&replica->asks);
}

/* What lies on this node is read where it is: who wants a copy of it names no value. */
static struct replica *begin(struct rank *rank, const struct location *of, int *ret_code)
{
    if (of->rank >= rank->size || !of->bytes || !rank->options.store ||
        comm_node_index(rank->comm, of->rank) != COMM_ELSEWHERE ||
        heirs_server(rank, of->rank) == UINT32_MAX) {
        *ret_code = MANTA_E_LOST;
        return NULL;
    }
    struct replica *replica = base_alloc(sizeof *replica);
    *ret_code = MANTA_E_NOMEM;
    if (!replica) {
        return NULL;
    }
    init_replica(rank, replica, of);
    replica->have = base_alloc((replica->chunks + 63) / 64 * sizeof *replica->have);
    if (!replica->have ||
        base_map_insert(&rank->replicas, core_key(of->parent, of->position), replica) != MANTA_OK) {
        base_free(replica->have);
        base_free(replica);
        return NULL;
    }
    *ret_code = take_room(rank, replica);
    if (*ret_code == MANTA_E_LIMIT) {
        room_begin(rank, &replica->room_wait);
        *ret_code = MANTA_OK;
    } else if (*ret_code != MANTA_OK) {
        destroy(rank, replica);
        return NULL;
    }
    rank->stats.copied++;
    return replica;
}

/* ---- Readers -------------------------------------------------------------------------------- */

static struct reader *find_reader(const struct replica *replica, uint32_t rank)
{
    BASE_LIST_EACH(&replica->readers, link)
    {
        struct reader *reader = MT_CONTAINER(link, struct reader, link);
        if (reader->rank == rank) {
            return reader;
        }
    }
    return NULL;
}

static void drop_reader(struct rank *rank, struct replica *replica, struct reader *reader)
{
    base_list_remove(&reader->link);
    base_free(reader);
    check_idle(rank, replica);
}

/* A rank reads a copy or not: that it wants it again is the same share with another token. */
static int add_reader(struct rank *rank, struct replica *replica, uint32_t from, uint32_t token)
{
    struct reader *reader = find_reader(replica, from);
    if (!reader) {
        reader = base_alloc(sizeof *reader);
        if (!reader) {
            return MANTA_E_NOMEM;
        }
        base_list_init(&reader->link);
        base_list_push_back(&replica->readers, &reader->link);
        reader->rank = from;
    }
    reader->token = token;
    end_idle(rank, replica);
    if (replica->is_here) {
        tell_reader(rank, replica, reader, MANTA_OK);
    }
    return MANTA_OK;
}

void replica_on_want(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct message_want want;
    const void *bytes = wire_take(body, sizeof want);
    struct replica *replica = find(rank, header);
    int code = MANTA_OK;
    if (!bytes || comm_node_index(rank->comm, from) == COMM_ELSEWHERE) {
        body->failed = true;
        return;
    }
    memcpy(&want, bytes, sizeof want);
    want.of.parent = header->parent;
    want.of.position = header->position;
    if (replica && replica->of.bytes != want.of.bytes) {
        code = MANTA_E_LOST; /* not the same value */
    } else if (!replica) {
        replica = begin(rank, &want.of, &code);
    }
    if (code == MANTA_OK) {
        code = add_reader(rank, replica, from, header->token);
    }
    if (code != MANTA_OK) {
        struct message_here here = {.code = code};
        message_send(rank, from, MESSAGE_HERE, *header, &here, sizeof here);
    }
}

void replica_on_unwant(struct rank *rank, uint32_t from, const struct wire_header *header,
                       struct wire_reader *body)
{
    struct replica *replica = find(rank, header);
    struct reader *reader = replica ? find_reader(replica, from) : NULL;
    if (reader && reader->token == header->token) {
        drop_reader(rank, replica, reader);
    }
}

void replica_on_freed(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct replica *replica = find(rank, header);
    struct message_freed freed;
    const void *bytes = wire_take(body, sizeof freed);
    if (!bytes) {
        return;
    }
    memcpy(&freed, bytes, sizeof freed);
    if (replica && maker_of(rank, replica) == from && replica->of.offset == freed.offset) {
        replica->is_freed = true;
        check_idle(rank, replica);
    }
}

/* ---- Chunks --------------------------------------------------------------------------------- */

static void send_chunk(struct rank *rank, struct replica *replica, uint32_t to, uint64_t chunk)
{
    struct wire_header header = about(replica);
    uint64_t from = chunk * REPLICA_CHUNK_BYTES;
    rank->stats.chunks_passed++;
    spread_send(rank, to, &header, from, (const uint8_t *)replica->room.data + from,
                chunk_bytes(replica, chunk), &replica->lender);
}

bool replica_serve(struct rank *rank, uint32_t to, const struct wire_header *header,
                   const struct message_fetch *asked)
{
    struct replica *replica = find(rank, header);
    uint64_t from = asked->from, bytes = asked->bytes, chunk = from / REPLICA_CHUNK_BYTES;
    bool is_it = replica && (replica->of.rank == asked->share
                                 ? replica->of.offset == asked->offset
                                 : asked->share == rank->number && replica->is_here &&
                                       replica->offset == asked->offset);
    if (!is_it || from % REPLICA_CHUNK_BYTES || chunk >= replica->chunks ||
        bytes != chunk_bytes(replica, chunk)) {
        return false;
    }
    if (has(replica, chunk)) {
        send_chunk(rank, replica, to, chunk);
        return true;
    }
    struct ask *ask = base_alloc(sizeof *ask);
    if (ask) {
        base_list_init(&ask->link);
        ask->rank = to;
        ask->chunk = chunk;
        base_list_push_back(&replica->asks, &ask->link);
    }
    return ask != NULL;
}

static void answer_asks(struct rank *rank, struct replica *replica, uint64_t chunk)
{
    BASE_LIST_EACH(&replica->asks, link)
    {
        struct ask *ask = MT_CONTAINER(link, struct ask, link);
        if (ask->chunk == chunk) {
            send_chunk(rank, replica, ask->rank, chunk);
            base_list_remove(&ask->link);
            base_free(ask);
        }
    }
}

static int seal(struct rank *rank, struct replica *replica)
{
    int code = store_populate(rank->options.store, &replica->room);
    if (code != MANTA_OK) {
        return code;
    }
    replica->offset = store_seal(rank->options.store, replica->room.data);
    replica->is_here = true;
    BASE_LIST_EACH(&replica->readers, link)
    {
        tell_reader(rank, replica, MT_CONTAINER(link, struct reader, link), MANTA_OK);
    }
    check_idle(rank, replica);
    return MANTA_OK;
}

/* Its bytes are in place, perhaps not for the first time. */
static int note_chunk(struct rank *rank, struct replica *replica, uint64_t chunk, uint32_t from)
{
    if (replica->source == from) {
        replica->under_way--;
    }
    if (!has(replica, chunk)) {
        replica->have[chunk / 64] |= UINT64_C(1) << chunk % 64;
        replica->missing--;
        answer_asks(rank, replica, chunk);
    }
    ask_more(rank, replica);
    return replica->missing ? MANTA_OK : seal(rank, replica);
}

/* The memory of a chunk, with pages. NULL: the machine has no more. */
static uint8_t *chunk_room(struct rank *rank, struct replica *replica, uint64_t chunk)
{
    uint64_t from = chunk * REPLICA_CHUNK_BYTES, end = from + chunk_bytes(replica, chunk);
    int code = store_populate_first(rank->options.store, &replica->room, end);
    return code == MANTA_OK ? (uint8_t *)replica->room.data + from : NULL;
}

static int take_chunk(struct rank *rank, struct replica *replica, uint64_t chunk, uint32_t from,
                      const void *data)
{
    uint8_t *room = chunk_room(rank, replica, chunk);
    if (!room) {
        return MANTA_E_NOMEM;
    }
    memcpy(room, data, chunk_bytes(replica, chunk));
    return note_chunk(rank, replica, chunk, from);
}

static bool is_sound(const struct replica *replica, const struct message_chunk *chunk, size_t bytes)
{
    uint64_t index = chunk->from / REPLICA_CHUNK_BYTES;
    return replica->room.data && chunk->from % REPLICA_CHUNK_BYTES == 0 &&
           index < replica->chunks && bytes == chunk_bytes(replica, index);
}

/* One of another node that came before, or so the maker says. */
static bool can_ask(struct rank *rank, const struct replica *replica, uint32_t source)
{
    uint32_t maker = maker_of(rank, replica);
    return replica->source == maker && source < rank->size && source != rank->number &&
           source != maker;
}

void replica_on_chunk(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct replica *replica = find(rank, header);
    struct message_chunk chunk;
    const void *head = wire_take(body, sizeof chunk);
    size_t bytes = wire_left(body);
    const void *data = wire_take(body, bytes);
    int code = MANTA_OK;
    if (!head || !replica || replica->is_here || replica->source != from) {
        return;
    }
    memcpy(&chunk, head, sizeof chunk);
    if (chunk.kind == CHUNK_DATA && is_sound(replica, &chunk, bytes)) {
        uint64_t index = chunk.from / REPLICA_CHUNK_BYTES;
        code = take_chunk(rank, replica, index, from, data);
    } else if (chunk.kind == CHUNK_ASK && can_ask(rank, replica, chunk.source)) {
        ask_at(rank, replica, rank->down[chunk.source] ? from : chunk.source);
    } else {
        code = ask_maker(rank, replica)   ? MANTA_OK
               : chunk.kind == CHUNK_GONE ? -(int)chunk.source
                                          : MANTA_E_LOST;
    }
    if (code != MANTA_OK) {
        fail(rank, replica, code);
    }
}

/* ---- Chunks that land in place -------------------------------------------------------------- */

/* Messages are counted when they have been taken; what nobody wants is taken here. */
void *replica_place(void *owner, uint32_t from, const struct comm_lent *lent)
{
    struct rank *rank = owner;
    struct replica *replica = find(rank, &lent->header);
    struct message_chunk chunk;
    memcpy(&chunk, lent->head, sizeof chunk);
    bool is_wanted = replica && !replica->is_here && replica->source == from &&
                     lent->header.kind == MESSAGE_CHUNK && chunk.kind == CHUNK_DATA &&
                     is_sound(replica, &chunk, lent->bytes);
    uint8_t *room = is_wanted ? chunk_room(rank, replica, chunk.from / REPLICA_CHUNK_BYTES) : NULL;
    if (room) {
        replica->lender.count++;
    } else {
        rank->counted_received++;
    }
    return room;
}

static bool contains(const struct replica *replica, const void *place)
{
    uintptr_t data = (uintptr_t)replica->room.data, at = (uintptr_t)place;
    return at >= data && at - data < replica->of.bytes;
}

/* Whose chunk has landed there: it may be in no map any more. */
static struct replica *find_landed(struct rank *rank, const struct wire_header *header,
                                   const void *place)
{
    struct replica *replica = find(rank, header);
    if (replica && contains(replica, place)) {
        return replica;
    }
    BASE_LIST_EACH(&rank->gone_replicas, link)
    {
        replica = MT_CONTAINER(link, struct replica, link);
        if (contains(replica, place)) {
            return replica;
        }
    }
    return NULL;
}

void replica_landed(void *owner, uint32_t from, const struct comm_lent *lent, void *place,
                    bool is_whole)
{
    struct rank *rank = owner;
    struct replica *replica = find_landed(rank, &lent->header, place);
    struct message_chunk chunk;
    int code = MANTA_OK;
    memcpy(&chunk, lent->head, sizeof chunk);
    rank->counted_received++;
    if (!replica) {
        return;
    }
    if (is_whole && !replica->is_gone && !replica->is_here) {
        code = note_chunk(rank, replica, chunk.from / REPLICA_CHUNK_BYTES, from);
    }
    if (code != MANTA_OK) {
        fail(rank, replica, code);
    }
    if (--replica->lender.count == 0) {
        no_chunks(rank, &replica->lender);
    }
}

/* ---- Deaths --------------------------------------------------------------------------------- */

static void forget_asks(struct replica *replica, uint32_t dead)
{
    BASE_LIST_EACH(&replica->asks, link)
    {
        struct ask *ask = MT_CONTAINER(link, struct ask, link);
        if (ask->rank == dead) {
            base_list_remove(&ask->link);
            base_free(ask);
        }
    }
}

static void forget(struct rank *rank, struct replica *replica, uint32_t dead)
{
    struct reader *reader = find_reader(replica, dead);
    forget_asks(replica, dead);
    if (reader) {
        base_list_remove(&reader->link);
        base_free(reader);
    }
    if (!replica->is_here && replica->source == dead) {
        replica->is_failing = !ask_maker(rank, replica);
    }
}

/* Those that go are only noted in the walk. */
void replica_peer_down(struct rank *rank, uint32_t dead)
{
    struct base_list leaving, *link;
    struct base_key key;
    uint32_t at = 0;
    void *value;
    base_list_init(&leaving);
    while (base_map_next(&rank->replicas, &at, &key, &value)) {
        struct replica *replica = value;
        bool was_read = !base_list_is_empty(&replica->readers);
        forget(rank, replica, dead);
        if (replica->is_failing || (was_read && base_list_is_empty(&replica->readers))) {
            base_list_push_back(&leaving, &replica->link);
        }
    }
    while ((link = base_list_pop_front(&leaving))) {
        struct replica *replica = MT_CONTAINER(link, struct replica, link);
        if (replica->is_failing) {
            fail(rank, replica, MANTA_E_LOST);
        } else {
            check_idle(rank, replica);
        }
    }
}
