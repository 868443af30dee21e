/*
 * The home of an id: where a lost parent's new runner, its orphaned children and the
 * holders of their refs meet. A record lives from the first of them that comes until the
 * new runner says that its children are gone, or the owner that it will not run again.
 *
 * Who gives an id up remembers that, and says it again when the home dies: nobody else knows
 * what to tell those who come to the next one.
 *
 * Who asks is answered when there is somebody to name, and asks again only when that one does not
 * own the ref, or is dead, of which the home then knows from the question.
 *
 * There may be several who run the parent again, because one of its owners had not heard yet
 * that it was given up. The latest meets the others; an older one serves a holder whom the latest
 * has told that it does not own the ref.
 */
#include "core/message.h"
#include "core/recover.h"
#include "core/scope.h"

#define NO_OWNER UINT32_MAX

struct home {
    uint64_t id;
    uint32_t is_given_up;
    struct base_list owners; /* the latest first */
    struct base_list offers;
    struct base_list lookups;
};

struct home_owner {
    struct base_list link;
    uint32_t rank, number; /* of its registration */
};

struct home_offer {
    struct base_list link;
    uint32_t position;
    struct message_offer message;
};

struct home_lookup {
    struct base_list link;
    uint32_t position, from;
};

/* This rank has said that an id will not run again. */
struct given_up {
    struct base_list link;
    uint64_t id;
    uint32_t home;
};

static struct base_key home_key(uint64_t id)
{
    return (struct base_key){id, 1};
}

static struct home *get_home(struct rank *rank, uint64_t id)
{
    struct home *home = base_map_find(&rank->homes, home_key(id));
    if (home || !(home = base_alloc(sizeof *home))) {
        return home;
    }
    home->id = id;
    base_list_init(&home->owners);
    base_list_init(&home->offers);
    base_list_init(&home->lookups);
    if (base_map_insert(&rank->homes, home_key(id), home) != 0) {
        base_free(home);
        return NULL;
    }
    rank->homes_live++;
    return home;
}

/* The latest, without one that has not registered again since it was asked. */
static uint32_t owner_of(const struct home *home, struct message_lookup without)
{
    BASE_LIST_EACH(&home->owners, link)
    {
        const struct home_owner *owner = MT_CONTAINER(link, struct home_owner, link);
        if (owner->rank != without.not_owner || owner->number > without.not_number) {
            return owner->rank;
        }
    }
    return NO_OWNER;
}

static uint32_t latest_owner(const struct home *home)
{
    return owner_of(home, (struct message_lookup){.not_owner = NO_OWNER});
}

static bool remove_owner(struct home *home, uint32_t rank)
{
    BASE_LIST_EACH(&home->owners, link)
    {
        struct home_owner *owner = MT_CONTAINER(link, struct home_owner, link);
        if (owner->rank == rank) {
            base_list_remove(link);
            base_free(owner);
            return true;
        }
    }
    return false;
}

static void add_owner(struct home *home, uint32_t rank, uint32_t number)
{
    (void)remove_owner(home, rank);
    struct home_owner *owner = base_alloc(sizeof *owner);
    if (owner) {
        owner->rank = rank;
        owner->number = number;
        base_list_push_front(&home->owners, &owner->link);
    }
}

static void send_found(struct rank *rank, uint64_t id, uint32_t position, uint32_t to,
                       uint32_t owner)
{
    message_send(rank, to, MESSAGE_FOUND, (struct wire_header){.parent = id, .position = position},
                 &owner, sizeof owner);
}

static void send_offer(struct rank *rank, uint64_t id, uint32_t position, uint32_t to,
                       const struct message_offer *offer)
{
    message_send(rank, to, MESSAGE_OFFER, (struct wire_header){.parent = id, .position = position},
                 offer, sizeof *offer);
}

static void answer_lookups(struct rank *rank, struct home *home, uint32_t owner)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&home->lookups))) {
        struct home_lookup *lookup = MT_CONTAINER(link, struct home_lookup, link);
        send_found(rank, home->id, lookup->position, lookup->from, owner);
        base_free(lookup);
    }
}

static void forward_offers(struct rank *rank, struct home *home, uint32_t owner)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&home->offers))) {
        struct home_offer *offer = MT_CONTAINER(link, struct home_offer, link);
        send_offer(rank, home->id, offer->position, owner, &offer->message);
        base_free(offer);
    }
}

void home_give_up(struct rank *rank, uint64_t id)
{
    uint32_t home = recover_home(rank, id);
    struct given_up *given_up = base_alloc(sizeof *given_up);
    if (given_up) {
        given_up->id = id;
        given_up->home = home;
        base_list_push_back(&rank->given_up, &given_up->link);
    }
    recover_send_register(rank, id, home, REGISTER_GIVEN_UP, 0);
}

void home_repeat_given_up(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->given_up, link)
    {
        struct given_up *given_up = MT_CONTAINER(link, struct given_up, link);
        if (given_up->home == dead) {
            given_up->home = recover_home(rank, given_up->id);
            recover_send_register(rank, given_up->id, given_up->home, REGISTER_WAS_GIVEN_UP, 0);
        }
    }
}

void home_forget_given_up(struct rank *rank)
{
    while (!base_list_is_empty(&rank->given_up)) {
        base_free(MT_CONTAINER(base_list_pop_front(&rank->given_up), struct given_up, link));
    }
}

/* Tells the runners that nobody will adopt. One that has died since has left children too, that
 * would wait at the home of its own id. */
static void refuse_offers(struct rank *rank, struct home *home)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&home->offers))) {
        struct home_offer *offer = MT_CONTAINER(link, struct home_offer, link);
        struct wire_header about = {.parent = home->id, .position = offer->position};
        struct message_adopt adopt = {offer->message.run_token, home->is_given_up};
        if (!comm_is_down(rank->comm, offer->message.runner)) {
            message_send(rank, offer->message.runner, MESSAGE_ADOPT, about, &adopt, sizeof adopt);
        } else if (home->is_given_up) {
            home_give_up(rank, core_task_id(home->id, offer->position));
        }
        base_free(offer);
    }
}

/* Nobody will register who has not yet. */
static void end_if_given_up(struct rank *rank, struct home *home)
{
    if (home->is_given_up && base_list_is_empty(&home->owners)) {
        refuse_offers(rank, home);
        answer_lookups(rank, home, NO_OWNER);
    }
}

static void free_home(struct rank *rank, struct home *home)
{
    refuse_offers(rank, home);
    answer_lookups(rank, home, NO_OWNER);
    while (!base_list_is_empty(&home->owners)) {
        base_free(MT_CONTAINER(base_list_pop_front(&home->owners), struct home_owner, link));
    }
    base_map_remove(&rank->homes, home_key(home->id));
    rank->homes_live--;
    base_free(home);
}

static bool is_unused(const struct home *home)
{
    return base_list_is_empty(&home->owners) && base_list_is_empty(&home->lookups) &&
           base_list_is_empty(&home->offers);
}

void home_on_register(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct message_register message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (message.what == REGISTER_OWNER) {
        struct home *home = get_home(rank, header->parent);
        if (home) {
            add_owner(home, from, message.number);
            home->is_given_up = 0;
            forward_offers(rank, home, from);
            answer_lookups(rank, home, from);
        }
        message_send(rank, from, MESSAGE_REGISTERED, *header, NULL, 0);
        return;
    }
    bool is_given_up = message.what == REGISTER_GIVEN_UP || message.what == REGISTER_WAS_GIVEN_UP;
    struct home *home = is_given_up ? get_home(rank, header->parent)
                                    : base_map_find(&rank->homes, home_key(header->parent));
    if (home && message.what == REGISTER_GONE) {
        if (remove_owner(home, from) && is_unused(home)) {
            free_home(rank, home);
        } else {
            end_if_given_up(rank, home);
        }
    } else if (is_given_up && home &&
               (message.what == REGISTER_GIVEN_UP || base_list_is_empty(&home->owners))) {
        home->is_given_up = 1;
        end_if_given_up(rank, home);
    }
}

void home_on_offer(struct rank *rank, uint32_t from, const struct wire_header *header,
                   struct wire_reader *body)
{
    struct message_offer message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (message.runner >= rank->size) {
        body->failed = true;
        return;
    }
    struct scope *scope = scope_find(rank, header->parent);
    if (scope && scope->is_taken_over) {
        recover_take_offer(rank, scope, header->position, &message);
        return;
    }
    struct home *home = get_home(rank, header->parent);
    struct home_offer *offer = home ? base_alloc(sizeof *offer) : NULL;
    uint32_t owner = home ? latest_owner(home) : NO_OWNER;
    if (owner != NO_OWNER) {
        send_offer(rank, header->parent, header->position, owner, &message);
        base_free(offer);
    } else if (offer) {
        offer->position = header->position;
        offer->message = message;
        base_list_push_back(&home->offers, &offer->link);
        end_if_given_up(rank, home);
    }
}

void home_on_lookup(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct home *home = get_home(rank, header->parent);
    struct message_lookup message;
    struct home_lookup *lookup;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (home && message.not_number == LOOKUP_DEAD && remove_owner(home, message.not_owner)) {
        end_if_given_up(rank, home);
    }
    uint32_t owner = home ? owner_of(home, message) : NO_OWNER;
    bool is_over = home && home->is_given_up && base_list_is_empty(&home->owners);
    if (!home || is_over || owner != NO_OWNER) {
        send_found(rank, header->parent, header->position, from, owner);
    } else if ((lookup = base_alloc(sizeof *lookup))) {
        lookup->position = header->position;
        lookup->from = from;
        base_list_push_back(&home->lookups, &lookup->link);
    }
}

void home_forget_owner(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->homes, &at, &key, &value)) {
        struct home *home = value;
        if (remove_owner(home, dead)) {
            end_if_given_up(rank, home);
        }
    }
}

/* What the job's end leaves unfinished will not be run again. A home that has an owner goes when
 * that says so. */
void home_clear(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->homes, &at, &key, &value)) {
        struct home *home = value;
        answer_lookups(rank, home, NO_OWNER);
        if (base_list_is_empty(&home->owners)) {
            free_home(rank, home);
            at = 0;
        }
    }
}
