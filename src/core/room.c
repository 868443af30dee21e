#include "core/room.h"

#include "base/units.h"
#include "core/board.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/idle.h"
#include "core/message.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/spill.h"
#include "core/wait.h"

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_NS UINT64_C(30000000000)
#define STAGGER_NS UINT64_C(100000000) /* so that not all ranks refuse one at the same time */
#define QUIET_NS UINT64_C(100000000)
#define SQUEEZE_NS UINT64_C(2000000000)
#define MORE "; and %u more"
#define SLACK_BYTES UINT64_C(65536) /* headers, and pages shared with neighbours */

/* ---- The node ------------------------------------------------------------------------------- */

/* Calls each living rank of the node, until one says true. */
static bool any_of_node(struct rank *rank, bool (*is_it)(struct rank *rank, uint32_t of, void *arg),
                        void *arg)
{
    bool is_found = false;
    const struct room *room = rank->room;
    for (uint32_t i = 0; i < room->near_count && !is_found; i++) {
        is_found = !rank->down[room->near[i]] && is_it(rank, room->near[i], arg);
    }
    return is_found;
}

static bool is_active(struct rank *rank, uint32_t of, void *arg)
{
    return board_is_active(rank, of);
}

static bool is_node_active(struct rank *rank)
{
    return any_of_node(rank, is_active, NULL);
}

static struct store_slot slot_of(struct rank *rank, uint32_t of)
{
    return store_get_slot(rank->options.store, comm_node_index(rank->comm, of));
}

struct donor {
    uint32_t rank;
    uint64_t bytes;
};

static bool compare_spare(struct rank *rank, uint32_t of, void *arg)
{
    struct donor *best = arg;
    uint64_t spare = of == rank->number ? 0 : slot_of(rank, of).spare_bytes;
    if (spare > best->bytes) {
        *best = (struct donor){of, spare};
    }
    return false;
}

/* Who shows most, and every other time the next in turn: what shows may be in use after all. */
static uint32_t choose_donor(struct rank *rank)
{
    struct room *room = rank->room;
    struct donor donor = {.rank = rank->number};
    if (++room->asks % 2) {
        (void)any_of_node(rank, compare_spare, &donor);
    }
    for (uint32_t i = 0; donor.rank == rank->number && i < room->near_count; i++) {
        uint32_t next = room->near[++room->next_donor % room->near_count];
        bool has_spare = !rank->down[next] && slot_of(rank, next).spare_bytes > 0;
        donor.rank = has_spare ? next : donor.rank;
    }
    return donor.rank;
}

static bool has_trouble(struct rank *rank, uint32_t of, void *arg)
{
    return slot_of(rank, of).trouble != MANTA_OK;
}

/* ---- Asking --------------------------------------------------------------------------------- */

/* What the largest of those that wait lacks. */
static uint64_t deficit(const struct rank *rank)
{
    struct store_stats stats = store_get_stats(rank->options.store);
    uint64_t most = 0;
    BASE_LIST_EACH(&rank->room->waits, link)
    {
        most = MT_MAX(most, MT_CONTAINER(link, struct room_wait, link)->bytes);
    }
    uint64_t wanted = stats.held_bytes + most + SLACK_BYTES;
    return most && wanted > stats.bound_bytes ? wanted - stats.bound_bytes : 0;
}

static void ask(struct rank *rank)
{
    uint64_t missing = deficit(rank);
    uint64_t here = missing ? spill_release(rank, missing) : 0;
    uint64_t released = store_get_released(rank->options.store);
    if (released == rank->room->released_at_ask && !spill_is_busy(rank)) {
        here = 0; /* what was to go from here is in use, it seems */
    }
    rank->room->released_at_ask = released;
    uint32_t donor = here < missing ? choose_donor(rank) : rank->number;
    if (donor != rank->number) {
        struct message_room message = {missing - here};
        message_send(rank, donor, MESSAGE_ROOM, (struct wire_header){0}, &message, sizeof message);
        dispatch_flush(rank);
    }
}

void room_on_room(struct rank *rank, uint32_t from, const struct wire_header *header,
                  struct wire_reader *body)
{
    uint64_t bytes = wire_get_u64(body);
    if (!body->failed && rank->options.store) {
        (void)spill_release(rank, bytes);
    }
}

/* ---- Waiting -------------------------------------------------------------------------------- */

void room_try(struct rank *rank)
{
    struct room *room = rank->room;
    struct base_list untried, *link;
    if (room->is_trying) {
        return;
    }
    room->is_trying = 1;
    base_list_init(&untried);
    base_list_splice(&untried, &room->waits);
    while ((link = base_list_pop_front(&untried))) {
        struct room_wait *wait = MT_CONTAINER(link, struct room_wait, link);
        base_list_push_back(&room->waits, link);
        wait->try(rank, wait->arg);
    }
    room->is_trying = 0;
}

void room_begin(struct rank *rank, struct room_wait *wait)
{
    if (!room_is_wanted(rank)) {
        rank->room->quiet_since_ns = base_now_ns(rank->host);
    }
    rank->stats.room_waits++;
    base_list_push_back(&rank->room->waits, &wait->link);
    ask(rank);
    idle_rouse_rarely(rank);
}

static void refuse(struct rank *rank, struct base_list *link)
{
    struct room_wait *wait = MT_CONTAINER(link, struct room_wait, link);
    base_list_remove(link);
    wait->refuse(rank, wait->arg, MANTA_E_LIMIT);
}

/* Nothing runs that could let go, and values cannot leave. */
static void refuse_producers(struct rank *rank)
{
    BASE_LIST_EACH(&rank->room->waits, link)
    {
        if (MT_CONTAINER(link, struct room_wait, link)->is_producer) {
            refuse(rank, link);
            return;
        }
    }
}

/* The last that came; of tasks that wait for their arguments and of others. */
static void refuse_last(struct rank *rank)
{
    struct base_list *waits = &rank->room->waits;
    if (!pin_refuse_last(rank) && !base_list_is_empty(waits)) {
        refuse(rank, waits->prev);
    }
}

bool room_is_quiet(struct rank *rank)
{
    return base_now_ns(rank->host) - rank->room->quiet_since_ns > QUIET_NS;
}

void room_squeeze_begin(struct rank *rank)
{
    rank->squeezed++;
    rank->squeezed_ns = base_now_ns(rank->host);
    idle_rouse_rarely(rank);
}

void room_squeeze_end(struct rank *rank)
{
    rank->squeezed--;
    rank->squeezed_ns = base_now_ns(rank->host);
    if (rank->squeezed == 0 && rank->ready_count) {
        idle_wake_worker(rank);
    }
}

bool room_squeeze_is_over(struct rank *rank)
{
    uint64_t now_ns = base_now_ns(rank->host);
    if (now_ns - rank->squeezed_ns < SQUEEZE_NS) {
        return false;
    }
    rank->squeezed_ns = now_ns; /* for one task */
    return true;
}

static void look_for_progress(struct rank *rank)
{
    struct room *room = rank->room;
    uint64_t now_ns = base_now_ns(rank->host), released = store_get_released(rank->options.store);
    uint64_t patience_ns =
        rank->options.store_patience_ns ? rank->options.store_patience_ns : PATIENCE_NS;
    patience_ns += STAGGER_NS * comm_node_index(rank->comm, rank->number);
    if (released != room->released || spill_is_busy(rank) || is_node_active(rank)) {
        room->released = released;
        room->quiet_since_ns = now_ns;
    } else if (any_of_node(rank, has_trouble, NULL)) {
        refuse_producers(rank);
    }
    if (now_ns - room->quiet_since_ns > patience_ns) {
        room->quiet_since_ns = now_ns;
        refuse_last(rank);
    }
}

void room_tick(struct rank *rank)
{
    if (rank->squeezed && rank->ready_count &&
        base_now_ns(rank->host) - rank->squeezed_ns >= SQUEEZE_NS) {
        idle_wake_worker(rank);
    }
    pin_tick(rank);
    room_try(rank);
    if (!base_list_is_empty(&rank->room->waits)) {
        ask(rank);
    }
    if (room_is_wanted(rank)) {
        look_for_progress(rank);
    }
}

/* ---- Producers ------------------------------------------------------------------------------ */

struct producer {
    struct room_wait wait;
    struct waiter waiter;
    const struct store_tag *tag;
    struct store_room *room;
    int code; /* MANTA_E_AGAIN: not yet */
};

static void produce(struct rank *rank, void *arg)
{
    struct producer *producer = arg;
    int code =
        store_create(rank->options.store, producer->wait.bytes, producer->tag, producer->room);
    if (code != MANTA_E_LIMIT) {
        room_end(&producer->wait);
        producer->code = code;
        waiter_notify(rank, &producer->waiter, 0);
    }
}

static void refuse_producer(struct rank *rank, void *arg, int code)
{
    struct producer *producer = arg;
    producer->code = code;
    waiter_notify(rank, &producer->waiter, 0);
}

static int wait_for_room(struct context *context, uint64_t bytes, const struct store_tag *tag,
                         struct store_room *ret_room)
{
    struct producer producer = {.waiter = {.context = context, .missing = 1},
                                .tag = tag,
                                .room = ret_room,
                                .code = MANTA_E_AGAIN};
    producer.wait = (struct room_wait){.bytes = bytes,
                                       .is_producer = true,
                                       .try = produce,
                                       .refuse = refuse_producer,
                                       .arg = &producer};
    base_list_init(&producer.wait.link);
    room_begin(context->rank, &producer.wait);
    room_squeeze_begin(context->rank);
    int code = wait_for(context, &producer.waiter, BASE_FOREVER);
    room_squeeze_end(context->rank);
    room_end(&producer.wait);
    if (code != MANTA_OK && producer.code == MANTA_OK) {
        room_abandon(context->rank, ret_room);
    }
    return code ? code : producer.code;
}

/* What a rank has in use. */
struct use {
    uint32_t rank;
    uint64_t read_bytes, written_bytes;
    const char *writer; /* a task that writes some of it; NULL: not known */
};

static void add_written(void *arg, const struct store_entry *entry)
{
    struct use *use = (struct use *)arg + entry->index;
    if (!entry->is_sealed) {
        const manta_function *function = registry_find(entry->tag.function);
        use->written_bytes += entry->bytes;
        use->writer = function ? function->name : use->writer;
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    uint64_t of_x = x->read_bytes + x->written_bytes, of_y = y->read_bytes + y->written_bytes;
    return of_x != of_y ? (of_x < of_y ? 1 : -1) : (x->rank > y->rank) - (x->rank < y->rank);
}

/* All ranks of the node, by their index on it; the array has an entry for each. */
static void find_users(struct rank *rank, struct use *uses)
{
    for (uint32_t i = 0; i < rank->room->near_count; i++) {
        uint32_t of = rank->room->near[i];
        struct use *use = &uses[comm_node_index(rank->comm, of)];
        use->rank = of;
        use->read_bytes = rank->down[of] ? 0 : slot_of(rank, of).pinned_bytes;
    }
    store_each(rank->options.store, add_written, uses);
}

static size_t say_use(char *text, size_t size, const struct use *use)
{
    bool is_written = use->written_bytes > 0, is_named = is_written && use->writer;
    int length = snprintf(text, size, "; rank %u reads %s%s%s%s%s%s", use->rank,
                          base_size(use->read_bytes).text, is_written ? ", writes " : "",
                          is_written ? base_size(use->written_bytes).text : "",
                          is_named ? " (" : "", is_named ? use->writer : "", is_named ? ")" : "");
    return (size_t)length;
}

/* "; rank 3 reads 12 MiB, writes 4 MiB (make); ...; and 5 more": those who use most first. */
static void say_users(struct rank *rank, char *text, size_t size)
{
    uint32_t count = rank->options.node_ranks, said = 0, users = 0;
    struct use *uses = base_alloc(count * sizeof *uses);
    size_t used = 0;
    text[0] = '\0';
    if (!uses) {
        return;
    }
    find_users(rank, uses);
    qsort(uses, count, sizeof *uses, by_bytes);
    while (users < count && uses[users].read_bytes + uses[users].written_bytes) {
        users++;
    }
    for (; said < users; said++) {
        size_t more = (size_t)snprintf(NULL, 0, MORE, users - said);
        size_t room = size - used - (said + 1 < users ? more : 0);
        size_t length = used + more < size ? say_use(text + used, room, &uses[said]) : room;
        if (length >= room) {
            snprintf(text + used, size - used, MORE, users - said);
            break;
        }
        used += length;
    }
    base_free(uses);
}

void room_say_full(struct rank *rank, char *text, size_t size)
{
    struct store_stats stats = store_get_stats(rank->options.store);
    const char *disk = !store_has_disk(rank->options.store) ? "nothing can be spilled (MANTA_SPILL)"
                       : any_of_node(rank, has_trouble, NULL) ? spill_trouble(rank)
                                                              : "all else is on disk";
    int length =
        snprintf(text, size,
                 "the store holds %s of %s, %s (close views, drop refs, or set "
                 "MANTA_STORE)",
                 base_size(stats.held_bytes).text, base_size(stats.bound_bytes).text, disk);
    if ((size_t)length < size) {
        say_users(rank, text + length, size - (size_t)length);
    }
}

int room_refuse(struct context *context, uint64_t bytes, const char *what)
{
    char asked[64], full[MANTA_ERROR_TEXT_MAX];
    int length = snprintf(asked, sizeof asked, "%s %s, ", base_size(bytes).text, what);
    room_say_full(context->rank, full, sizeof full - (size_t)length);
    return context_fail(context, MANTA_E_LIMIT, "%s%s", asked, full);
}

static int say_why(struct context *context, int code, uint64_t bytes)
{
    struct rank *rank = context->rank;
    struct store_stats stats = store_get_stats(rank->options.store);
    if (code == MANTA_E_NOMEM) {
        return context_fail(context, code,
                            "%llu bytes were asked for, and the machine has no more memory; the "
                            "node's store holds %llu of at most %llu bytes",
                            (unsigned long long)bytes, (unsigned long long)stats.held_bytes,
                            (unsigned long long)stats.bound_bytes);
    }
    if (code == MANTA_E_TOOBIG) {
        return context_fail(context, code,
                            "%llu bytes were asked for, and the node's store never holds more than "
                            "%llu: make smaller pieces, or give it more (MANTA_STORE)",
                            (unsigned long long)bytes, (unsigned long long)stats.bound_bytes);
    }
    if (code == MANTA_E_SHUTDOWN) {
        return context_fail(context, code, "the job is ending");
    }
    return room_refuse(context, bytes, "were asked for");
}

int room_create(struct context *context, uint64_t bytes, const struct store_tag *tag,
                struct store_room *ret_room)
{
    struct rank *rank = context->rank;
    struct store *store = rank->options.store;
    struct store_room room;
    int code = store_create(store, bytes, tag, &room);
    if (code == MANTA_E_LIMIT) {
        code = wait_for_room(context, bytes, tag, &room);
    }
    if (code == MANTA_OK) {
        baton_give(&rank->baton);
        code = store_populate(store, &room);
        baton_take(&rank->baton, rank->host);
        if (code != MANTA_OK) {
            room_abandon(rank, &room);
        }
    }
    if (code != MANTA_OK) {
        return say_why(context, code, bytes);
    }
    *ret_room = room;
    return MANTA_OK;
}

void room_abandon(struct rank *rank, const struct store_room *room)
{
    store_abandon(rank->options.store, room);
    spill_show(rank);
}

/* ---- Together ------------------------------------------------------------------------------- */

int room_open(struct rank *rank)
{
    struct room *room = rank->room = base_alloc(sizeof *rank->room);
    uint32_t *near = base_alloc(rank->options.node_ranks * sizeof *near + sizeof *near);
    if (!room || !near) {
        base_free(near);
        return MANTA_E_NOMEM;
    }
    base_list_init(&room->waits);
    room->near = near;
    for (uint32_t i = 0; i < rank->size; i++) {
        if (comm_node_index(rank->comm, i) < rank->options.node_ranks) {
            near[room->near_count++] = i;
        }
    }
    return MANTA_OK;
}

void room_close(struct rank *rank)
{
    if (rank->room) {
        base_free(rank->room->near);
    }
    base_free(rank->room);
}
