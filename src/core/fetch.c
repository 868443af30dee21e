#include "core/fetch.h"

#include "core/exec.h"
#include "core/heirs.h"
#include "core/message.h"
#include "core/object.h"
#include "core/pack.h"
#include "core/registry.h"
#include "core/room.h"
#include "core/spill.h"

enum { CHUNK_BYTES = 256 * 1024, CHUNKS_ASKED = 8 };

static struct base_key key_of(const struct location *of)
{
    return core_key(of->parent, of->position);
}

static struct copy *find(struct rank *rank, const struct location *of)
{
    return base_map_find(&rank->copies, key_of(of));
}

struct copy *fetch_find(struct rank *rank, const struct location *of)
{
    struct copy *copy = find(rank, of);
    return copy && copy->of.rank == of->rank && copy->of.offset == of->offset ? copy : NULL;
}

const void *fetch_data(struct rank *rank, const struct location *of)
{
    const void *data = stored_data(rank, of);
    const struct copy *copy = data ? NULL : find(rank, of);
    return copy ? copy->data : data;
}

/* ---- Asking --------------------------------------------------------------------------------- */

static void ask_more(struct rank *rank, struct copy *copy)
{
    struct wire_header about = {.parent = copy->of.parent, .position = copy->of.position};
    while (copy->asked < copy->of.bytes &&
           copy->asked - copy->got < (uint64_t)CHUNK_BYTES * CHUNKS_ASKED) {
        uint64_t bytes = MT_MIN(copy->of.bytes - copy->asked, (uint64_t)CHUNK_BYTES);
        struct message_fetch message = {copy->of.offset, copy->asked, bytes, copy->of.rank, 0};
        copy->asked += bytes;
        message_send(rank, copy->source, MESSAGE_FETCH, about, &message, sizeof message);
    }
}

static void end_copy(struct rank *rank, struct copy *copy, int code)
{
    struct base_list *link;
    copy->is_over = true;
    copy->code = code;
    if (code != MANTA_OK) { /* whoever comes now tries anew */
        base_map_remove(&rank->copies, key_of(&copy->of));
    }
    copy->sharers++;
    while ((link = base_list_pop_front(&copy->waits))) {
        struct fetch_wait *wait = MT_CONTAINER(link, struct fetch_wait, link);
        wait->over(rank, wait->arg, copy);
    }
    fetch_drop(rank, copy);
}

/* Its block. MANTA_E_LIMIT: not now. */
static int take_room(struct rank *rank, struct copy *copy)
{
    struct store_tag tag = {.parent = copy->of.parent, .position = copy->of.position};
    struct store_room room;
    int code = store_create(rank->options.store, copy->of.bytes, &tag, &room);
    if (code == MANTA_OK && (code = store_populate(rank->options.store, &room)) != MANTA_OK) {
        store_abandon(rank->options.store, &room);
    }
    if (code == MANTA_OK) {
        copy->room = room;
    }
    return code;
}

static void try_room(struct rank *rank, void *arg)
{
    struct copy *copy = arg;
    int code = take_room(rank, copy);
    if (code == MANTA_E_LIMIT) {
        return;
    }
    room_end(&copy->room_wait);
    if (code == MANTA_OK) {
        ask_more(rank, copy);
    } else {
        end_copy(rank, copy, code);
    }
}

static void refuse_room(struct rank *rank, void *arg, int code)
{
    end_copy(rank, arg, code);
}

static struct copy *make_copy(struct rank *rank, const struct location *of, int *ret_code)
{
    struct copy *copy = base_alloc(sizeof *copy);
    *ret_code = MANTA_E_NOMEM;
    if (!copy || base_map_insert(&rank->copies, key_of(of), copy) != 0) {
        base_free(copy);
        return NULL;
    }
    copy->of = *of;
    copy->source = heirs_server(rank, of->rank);
    base_list_init(&copy->waits);
    copy->room_wait =
        (struct room_wait){.bytes = of->bytes, .try = try_room, .refuse = refuse_room, .arg = copy};
    base_list_init(&copy->room_wait.link);
    *ret_code = take_room(rank, copy);
    if (*ret_code != MANTA_OK && *ret_code != MANTA_E_LIMIT) {
        base_map_remove(&rank->copies, key_of(of));
        base_free(copy);
        return NULL;
    }
    return copy;
}

struct copy *fetch_begin(struct rank *rank, const struct location *of, struct fetch_wait *wait,
                         int *ret_code)
{
    struct copy *copy = find(rank, of);
    bool is_new = !copy;
    if (is_new && (comm_node_index(rank->comm, of->rank) != COMM_ELSEWHERE ||
                   heirs_server(rank, of->rank) == UINT32_MAX)) {
        *ret_code = MANTA_E_LOST;
        return NULL;
    }
    copy = copy ? copy : make_copy(rank, of, ret_code);
    if (!copy) {
        return NULL;
    }
    copy->sharers++;
    if (!copy->is_over) {
        base_list_push_back(&copy->waits, &wait->link);
    }
    if (is_new && copy->room.data) {
        ask_more(rank, copy);
    } else if (is_new) {
        room_begin(rank, &copy->room_wait);
    }
    return copy;
}

void fetch_drop(struct rank *rank, struct copy *copy)
{
    if (!copy || --copy->sharers) {
        return;
    }
    if (find(rank, &copy->of) == copy) {
        base_map_remove(&rank->copies, key_of(&copy->of));
    }
    if (copy->data) {
        store_free(rank->options.store, copy->offset);
    } else if (copy->room.data) {
        store_abandon(rank->options.store, &copy->room);
    }
    room_end(&copy->room_wait);
    base_free(copy);
}

/* ---- Chunks --------------------------------------------------------------------------------- */

/* Without data the code says why. */
static void send_chunk(struct rank *rank, uint32_t to, const struct wire_header *header,
                       const struct message_fetch *message, const uint8_t *data, int code)
{
    struct message_chunk chunk = {.from = message->from, .code = data ? MANTA_OK : code};
    size_t size = data ? message->bytes : 0;
    uint8_t *out = message_begin(rank, to, MESSAGE_CHUNK, header, sizeof chunk + size);
    if (out) {
        wire_put_bytes(&out, &chunk, sizeof chunk);
        wire_put_bytes(&out, data ? data + message->from : NULL, size);
        message_end(rank);
    }
}

/* A request for what is on the disk. */
struct postponed {
    struct spill_want want;
    struct wire_header header;
    struct message_fetch message;
    uint32_t from;
};

static void serve(struct rank *rank, uint32_t from, const struct wire_header *header,
                  const struct message_fetch *message);

static void serve_now(struct rank *rank, void *arg, int code)
{
    struct postponed *postponed = arg;
    if (code == MANTA_OK) {
        serve(rank, postponed->from, &postponed->header, &postponed->message);
    } else {
        send_chunk(rank, postponed->from, &postponed->header, &postponed->message, NULL, code);
    }
    base_free(postponed);
}

/* When it has come back: MANTA_E_AGAIN, or why it cannot. */
static int serve_later(struct rank *rank, uint32_t from, const struct wire_header *header,
                       const struct message_fetch *message)
{
    struct location of = {header->parent, header->position, message->share, message->offset, 0};
    struct postponed *postponed = base_alloc(sizeof *postponed);
    if (!postponed) {
        return MANTA_E_NOMEM;
    }
    *postponed = (struct postponed){{.over = serve_now, .arg = postponed}, *header, *message, from};
    base_list_init(&postponed->want.link);
    int code = spill_want(rank, &of, &postponed->want);
    if (code != MANTA_E_AGAIN) {
        base_free(postponed);
    }
    return code;
}

static void serve(struct rank *rank, uint32_t from, const struct wire_header *header,
                  const struct message_fetch *message)
{
    struct store_tag tag = {.parent = header->parent, .position = header->position};
    bool is_sane =
        rank->options.store && message->bytes <= CHUNK_BYTES && message->share < rank->size;
    struct store_place at = {is_sane ? comm_node_index(rank->comm, message->share) : 0,
                             message->offset};
    const uint8_t *data = is_sane ? store_find(rank->options.store, at.index, at.place, &tag,
                                               message->from + message->bytes)
                                  : NULL;
    int code = MANTA_E_LOST;
    if (data && store_get_state(rank->options.store, at) >= STORE_SPILLED) {
        if ((code = serve_later(rank, from, header, message)) == MANTA_E_AGAIN) {
            return;
        }
        data = code == MANTA_OK ? data : NULL;
    }
    send_chunk(rank, from, header, message, data, code);
}

void fetch_on_fetch(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct message_fetch message;
    const void *bytes = wire_take(body, sizeof message);
    if (bytes) {
        memcpy(&message, bytes, sizeof message);
        serve(rank, from, header, &message);
    }
}

void fetch_on_chunk(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct copy *copy = base_map_find(&rank->copies, core_key(header->parent, header->position));
    struct message_chunk chunk;
    const void *head = wire_take(body, sizeof chunk);
    size_t bytes = wire_left(body);
    const void *data = wire_take(body, bytes);
    if (!head || !copy || copy->is_over || copy->source != from || !copy->room.data) {
        return;
    }
    memcpy(&chunk, head, sizeof chunk);
    if (chunk.code != MANTA_OK || chunk.from > copy->of.bytes ||
        bytes > copy->of.bytes - chunk.from) {
        end_copy(rank, copy, chunk.code != MANTA_OK ? chunk.code : MANTA_E_LOST);
        return;
    }
    memcpy((uint8_t *)copy->room.data + chunk.from, data, bytes);
    copy->got += bytes;
    ask_more(rank, copy);
    if (copy->got == copy->of.bytes) {
        uint32_t index = comm_node_index(rank->comm, rank->number);
        copy->offset = store_seal(rank->options.store, copy->room.data);
        copy->data = store_at(rank->options.store, index, copy->offset);
        end_copy(rank, copy, copy->data ? MANTA_OK : MANTA_E_NOMEM);
    }
}

void fetch_peer_down(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->copies, &at, &key, &value)) {
        struct copy *copy = value;
        if (copy->source != dead || copy->is_over) {
            continue;
        }
        copy->source = heirs_server(rank, copy->of.rank);
        if (copy->source == UINT32_MAX) {
            end_copy(rank, copy, MANTA_E_LOST);
            at = 0; /* it is in the map no more */
        } else if (copy->room.data) {
            copy->asked = copy->got;
            ask_more(rank, copy);
        }
    }
}

/* ---- Before a task starts ------------------------------------------------------------------- */

/* One argument of a run that comes from another node. */
struct fetched {
    struct fetched *next;
    struct run *run;
    struct copy *copy;
    struct fetch_wait wait;
};

static void copy_is_here(struct rank *rank, void *arg, struct copy *copy)
{
    struct run *run = ((struct fetched *)arg)->run;
    run->code = copy->code ? copy->code : run->code;
    if (--run->fetches_missing == 0) {
        exec_queue_fetched(rank, run);
    }
}

static void fetch_argument(struct rank *rank, struct run *run, const struct location *of)
{
    struct fetched *fetched = base_alloc(sizeof *fetched);
    int code;
    if (!fetched) {
        run->code = MANTA_E_NOMEM;
        return;
    }
    base_list_init(&fetched->wait.link);
    fetched->wait.over = copy_is_here;
    fetched->wait.arg = fetched;
    fetched->run = run;
    fetched->copy = fetch_begin(rank, of, &fetched->wait, &code);
    if (!fetched->copy) {
        run->code = code; /* why the start will not find it */
        base_free(fetched);
        return;
    }
    fetched->next = run->fetched;
    run->fetched = fetched;
    run->fetches_missing += !fetched->copy->is_over;
}

bool fetch_for_run(struct rank *rank, struct run *run)
{
    struct pack_walk walk = pack_walk_init(run->function, run->args ? run->args : run->args_small,
                                           run->args_bytes, PACK_RESOLVED);
    struct pack_arg arg;
    while (pack_next(&walk, &arg)) {
        struct location of;
        if (arg.is_stored) {
            run->has_stored = run->has_more = 1;
            memcpy(&of, arg.data, sizeof of);
            if (of.rank < rank->size && rank->options.store && !stored_data(rank, &of)) {
                fetch_argument(rank, run, &of);
            }
        }
    }
    return run->fetches_missing > 0;
}

void fetch_end_run(struct rank *rank, struct run *run)
{
    while (run->fetched) {
        struct fetched *fetched = run->fetched;
        run->fetched = fetched->next;
        base_list_remove(&fetched->wait.link);
        fetch_drop(rank, fetched->copy);
        base_free(fetched);
    }
}
