/* A rank's share in a graph: see graph.h. */
#include "core/dispatch.h"
#include "core/graph.h"
#include "core/idle.h"
#include "core/message.h"
#include "core/registry.h"

#include <stdio.h>

/* ---- Finding -------------------------------------------------------------------------------- */

static struct base_key key_of(uint64_t id)
{
    return (struct base_key){id, 0};
}

static struct member *find(struct rank *rank, uint64_t id)
{
    struct member *last = rank->graphs.last;
    if (MT_LIKELY(last && last->id == id)) {
        return last;
    }
    last = base_map_find(&rank->graphs.members, key_of(id));
    rank->graphs.last = last ? last : rank->graphs.last;
    return last;
}

static struct member *find_or_make(struct rank *rank, uint64_t id, uint32_t owner)
{
    struct member *member = find(rank, id);
    if (member) {
        return member;
    }
    member = base_alloc(sizeof *member);
    if (member && base_map_insert(&rank->graphs.members, key_of(id), member) != MANTA_OK) {
        base_free(member);
        return NULL;
    }
    if (member) {
        base_list_init(&member->ready);
        member->id = id;
        member->owner = owner;
        member->has_ended = true;
    }
    return member;
}

/* What only the conductor of a graph may say. */
static bool is_ours(const struct member *member, uint32_t from, struct wire_reader *body)
{
    body->failed |= member && member->owner != from;
    return member && !body->failed;
}

static void free_member(struct member *member)
{
    part_destroy(member->part);
    base_free(member->coming);
    base_free(member);
}

static void forget(struct rank *rank, struct member *member)
{
    (void)base_map_remove(&rank->graphs.members, key_of(member->id));
    rank->graphs.last = NULL;
    base_list_remove(&member->ready);
    rank->graphs.running -= !member->has_ended;
    free_member(member);
}

/* ---- Its end, and that of a launch ---------------------------------------------------------- */

static void leave_epoch(struct rank *rank, struct member *member)
{
    base_list_remove(&member->ready);
    member->has_ended = true;
    rank->graphs.running--;
}

static void say_ended(struct rank *rank, struct member *member)
{
    struct wire_header about = {.parent = member->id, .token = member->epoch};
    leave_epoch(rank, member);
    message_tell(rank, member->owner, MESSAGE_GRAPH_ENDED, about, NULL, 0);
}

static void stop(struct member *member)
{
    atomic_store_explicit(&member->is_stopped, true, memory_order_relaxed);
    base_list_remove(&member->ready);
}

void member_went_quiet(struct rank *rank, struct member *member)
{
    if (member->running) {
        return;
    }
    if (member->is_doomed) {
        forget(rank, member);
    } else if (!member->has_ended) {
        say_ended(rank, member);
    }
}

static void doom(struct rank *rank, struct member *member)
{
    stop(member);
    member->is_doomed = true;
    member_went_quiet(rank, member);
}

void member_on_stop(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct member *member = find(rank, header->parent);
    if (is_ours(member, from, body) && member->part && member->epoch == header->token &&
        !member->has_ended) {
        stop(member);
        member_went_quiet(rank, member);
    }
}

void member_on_drop(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct member *member = find(rank, header->parent);
    if (is_ours(member, from, body)) {
        doom(rank, member);
    }
}

/* A walk that starts again after each: dooming may change the map. */
void member_peer_down(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->graphs.members, &at, &key, &value)) {
        struct member *member = value;
        if (member->owner == dead && !member->is_doomed) {
            doom(rank, member);
            at = 0;
        }
    }
}

void member_fini(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->graphs.members, &at, &key, &value)) {
        free_member(value);
    }
    base_map_fini(&rank->graphs.members);
}

/* ---- Getting a part ------------------------------------------------------------------------- */

static bool are_ranks(const struct rank *rank, const uint32_t *numbers, uint32_t count)
{
    bool are = true;
    for (uint32_t i = 0; i < count; i++) {
        are &= numbers[i] < rank->size && numbers[i] != rank->number;
    }
    return are;
}

static int make_part(struct rank *rank, struct member *member)
{
    part_destroy(member->part);
    member->part = NULL;
    int code = part_create(member->coming, member->coming_bytes, registry_find, &member->part);
    const struct part *part = member->part;
    if (part && !(are_ranks(rank, part->downs, part->head.downs) &&
                  are_ranks(rank, part->ups, part->head.ups))) {
        part_destroy(member->part);
        member->part = NULL;
        code = MANTA_E_TYPE;
    }
    return code;
}

/* Grows with what has come, whatever is said to follow. */
static int make_room(struct member *member, uint64_t needed, uint64_t total)
{
    uint64_t room = MT_MAX(needed, MT_MIN(total, 2 * member->coming_room));
    if (needed <= member->coming_room) {
        return MANTA_OK;
    }
    uint8_t *grown = base_realloc(member->coming, member->coming_room, room);
    if (!grown) {
        return MANTA_E_NOMEM;
    }
    member->coming = grown;
    member->coming_room = room;
    return MANTA_OK;
}

static void forget_bytes(struct member *member)
{
    base_free(member->coming);
    member->coming = NULL;
    member->coming_bytes = member->coming_room = 0;
}

/* Pieces come in order, without gaps. After one that there is no memory for no more are kept. */
static int take_bytes(struct member *member, const struct message_graph_part *head,
                      struct wire_reader *body)
{
    size_t size = wire_left(body);
    const void *bytes = wire_take(body, size);
    if (head->offset == 0) {
        forget_bytes(member);
    }
    if (size == 0 || head->offset != member->coming_bytes || head->offset > head->total ||
        size > head->total - head->offset) {
        body->failed = true;
        return MANTA_E_TYPE;
    }
    bool has_gap = member->coming_bytes && !member->coming;
    member->coming_bytes += size;
    if (has_gap || make_room(member, member->coming_bytes, head->total) != MANTA_OK) {
        base_free(member->coming);
        member->coming = NULL;
        member->coming_room = 0;
        return MANTA_E_NOMEM;
    }
    memcpy(member->coming + head->offset, bytes, size);
    return MANTA_OK;
}

/* One of several pieces; the answer is to the last. An id names the rank that made the graph. */
void member_on_part(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct message_graph_part head;
    const void *bytes = wire_take(body, sizeof head);
    if (!bytes || header->parent < GRAPH_ID_BITS || (uint32_t)header->parent != from) {
        body->failed = true;
        return;
    }
    memcpy(&head, bytes, sizeof head);
    bool is_last = head.offset + wire_left(body) == head.total;
    struct member *member = find_or_make(rank, header->parent, from);
    if (member && !member->has_ended && member->part->rounds == 0) {
        leave_epoch(rank, member); /* that never was one, whoever sent a value of it */
    }
    body->failed |= member && (member->running || !member->has_ended);
    int code = body->failed ? MANTA_E_TYPE
               : member     ? take_bytes(member, &head, body)
                            : MANTA_E_NOMEM;
    if (!is_last || body->failed) {
        return;
    }
    if (code == MANTA_OK) {
        code = make_part(rank, member);
    }
    if (member) {
        forget_bytes(member);
        member->epoch = header->token;
    }
    message_tell(rank, from, MESSAGE_GRAPH_READY, *header, &code, sizeof code);
}

/* ---- Launches ------------------------------------------------------------------------------- */

/* The epoch that a message is about, begun if it is new; false: it is over, or was never here. */
static bool enter_epoch(struct rank *rank, struct member *member, uint32_t epoch)
{
    if (!member || !member->part || member->is_doomed) {
        return false;
    }
    if (MT_LIKELY(member->epoch == epoch)) {
        return !member->has_ended && !leaf_is_stopped(member);
    }
    if (epoch != member->epoch + 1 || !member->has_ended) {
        return false;
    }
    member->epoch = epoch;
    member->has_ended = false;
    rank->graphs.running++;
    atomic_store_explicit(&member->is_stopped, false, memory_order_relaxed);
    part_begin(member->part);
    return true;
}

void member_show(struct rank *rank, struct member *member, uint32_t own)
{
    const struct part *part = member->part;
    uint32_t count = part->ready_tail - part->ready_head;
    if (count == 0 || leaf_is_stopped(member)) {
        return;
    }
    if (base_list_is_empty(&member->ready)) {
        base_list_push_back(&rank->graphs.ready, &member->ready);
    }
    for (; count > own && !base_list_is_empty(&rank->idle); count--) {
        idle_wake_worker(rank);
    }
}

void member_on_launch(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct member *member = find(rank, header->parent);
    uint32_t rounds = wire_get_u32(body);
    if (is_ours(member, from, body) && enter_epoch(rank, member, header->token)) {
        body->failed = rounds == 0 || member->part->rounds != 0;
        if (!body->failed) {
            part_start(member->part, rounds);
            member_show(rank, member, 0);
        }
    }
}

static bool copy_in(struct part *part, uint32_t value, uint32_t round, struct wire_reader *body)
{
    struct part_slot *slot = part_slot(part, value, round);
    uint32_t bytes = (uint32_t)wire_left(body);
    if (!part_slot_reserve(slot, bytes)) {
        return false;
    }
    slot->bytes = bytes;
    if (bytes) {
        memcpy(slot->data, wire_take(body, bytes), bytes);
    }
    return true;
}

static MT_COLD manta_error *no_room(struct rank *rank, uint32_t from)
{
    manta_error *error = base_alloc(sizeof *error);
    if (error) {
        error->code = MANTA_E_NOMEM;
        error->rank = rank->number;
        snprintf(error->host, sizeof error->host, "%s", rank->options.host_name);
        snprintf(error->text, sizeof error->text,
                 "no memory for a value of a graph that came from rank %u", from);
    }
    return error;
}

void member_set_input(struct rank *rank, const struct wire_header *about,
                      const struct graph_bytes *bytes)
{
    struct member *member = find(rank, about->parent);
    struct wire_reader reader = wire_reader_init(bytes->data, bytes->bytes);
    if (enter_epoch(rank, member, about->token)) {
        (void)part_admit(member->part, about->position, 0);
        if (!copy_in(member->part, about->position, 0, &reader)) {
            member_node_failed(rank, member, no_room(rank, rank->number));
        }
    }
}

void member_on_value(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct member *member = find(rank, header->parent);
    uint32_t round = wire_get_u32(body), done = wire_get_u32(body);
    if (!enter_epoch(rank, member, header->token) || body->failed) {
        return;
    }
    struct part *part = member->part;
    if (!part_admit(part, header->position, round)) {
        body->failed = true;
    } else if (MT_LIKELY(copy_in(part, header->position, round, body))) {
        part_arrived(part, header->position, round);
        part_down_done(part, from, done);
        member_show(rank, member, 0);
    } else {
        member_node_failed(rank, member, no_room(rank, from));
    }
}

void member_on_told(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct member *member = find(rank, header->parent);
    uint32_t done = wire_get_u32(body);
    if (enter_epoch(rank, member, header->token)) {
        part_down_done(member->part, from, done);
        member_show(rank, member, 0);
    }
}

/* ---- What nodes make ------------------------------------------------------------------------ */

static void send_value(struct rank *rank, const struct member *member, uint32_t down,
                       uint32_t index, uint32_t round, const struct part_slot *slot)
{
    const struct part *part = member->part;
    struct wire_header about = {.parent = member->id, .position = index, .token = member->epoch};
    uint8_t *out = message_begin(rank, part->downs[down], MESSAGE_GRAPH_VALUE, &about,
                                 2 * sizeof round + slot->bytes);
    if (out) {
        wire_put_u32(&out, round);
        wire_put_u32(&out, part->done);
        wire_put_bytes(&out, slot->data, slot->bytes);
        message_end(rank);
        part_tells(member->part, down);
    }
}

/* To the other members, and in the last round to the conductor. */
static void pass_on(struct rank *rank, struct member *member, uint32_t value, uint32_t round)
{
    const struct part *part = member->part;
    const struct part_value *of = &part->values[value];
    const struct part_slot *slot = part_slot(part, value, round);
    for (uint32_t i = 0; i < of->dests; i++) {
        const struct part_dest *dest = &part->dests[of->first_dest + i];
        send_value(rank, member, dest->down, dest->index, round, slot);
    }
    if (MT_UNLIKELY(of->output != PLAN_NONE && round + 1 == part->rounds)) {
        struct wire_header about = {
            .parent = member->id, .position = of->output, .token = member->epoch};
        message_tell(rank, member->owner, MESSAGE_GRAPH_RESULT, about, slot->data, slot->bytes);
    }
}

/* Those who send values here and have not heard for long how far this rank is. */
static void tell(struct rank *rank, struct member *member)
{
    struct part *part = member->part;
    struct wire_header about = {.parent = member->id, .token = member->epoch};
    for (uint32_t i = 0; i < part->head.ups; i++) {
        if (part_must_tell(part, i)) {
            part->up_told[i] = part->done;
            message_send(rank, part->ups[i], MESSAGE_GRAPH_TOLD, about, &part->done,
                         sizeof part->done);
        }
    }
}

void member_node_ended(struct rank *rank, struct member *member, struct part_ready of)
{
    struct part *part = member->part;
    const struct part_node *node = &part->nodes[of.node];
    bool has_sent = false;
    for (uint32_t i = 0; i < node->values; i++) {
        const struct part_value *value = &part->values[node->first_value + i];
        has_sent |= value->dests != 0;
        pass_on(rank, member, node->first_value + i, of.round);
    }
    if (part_ended(part, of)) {
        tell(rank, member);
        has_sent = true;
    }
    if (has_sent) {
        dispatch_flush(rank);
    }
    member_show(rank, member, 1);
    if (part_is_over(part) && member->running == 0 && !member->has_ended) {
        say_ended(rank, member);
    }
}

void member_node_failed(struct rank *rank, struct member *member, manta_error *error)
{
    struct wire_header about = {.parent = member->id, .token = member->epoch};
    uint8_t text[sizeof(manta_error) + 64];
    size_t size = wire_error_bytes(error);
    stop(member);
    wire_error_write(error, text);
    message_tell(rank, member->owner, MESSAGE_GRAPH_FAILED, about, text, size);
    base_free(error);
}
