/*
 * The home of an id: where a lost parent's new runner, its orphaned children and the
 * holders of their refs meet. A record lives from the first of them that comes until the
 * new runner says that its children are gone, or the owner that it will not run again.
 */
#include "core/message.h"
#include "core/recover.h"
#include "core/scope.h"

#define NO_OWNER UINT32_MAX

struct home {
    uint64_t id;
    uint32_t owner;
    uint32_t is_given_up;
    struct base_list offers;
    struct base_list lookups;
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
    home->owner = NO_OWNER;
    base_list_init(&home->offers);
    base_list_init(&home->lookups);
    if (base_map_insert(&rank->homes, home_key(id), home) != 0) {
        base_free(home);
        return NULL;
    }
    rank->homes_live++;
    return home;
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

static void forward_offers(struct rank *rank, struct home *home)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&home->offers))) {
        struct home_offer *offer = MT_CONTAINER(link, struct home_offer, link);
        send_offer(rank, home->id, offer->position, home->owner, &offer->message);
        base_free(offer);
    }
}

/* Tells the runners that nobody will adopt. */
static void refuse_offers(struct rank *rank, struct home *home)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&home->offers))) {
        struct home_offer *offer = MT_CONTAINER(link, struct home_offer, link);
        struct wire_header about = {.parent = home->id, .position = offer->position};
        message_send(rank, offer->message.runner, MESSAGE_ADOPT, about, &offer->message.run_token,
                     sizeof offer->message.run_token);
        base_free(offer);
    }
}

static void free_home(struct rank *rank, struct home *home)
{
    refuse_offers(rank, home);
    answer_lookups(rank, home, NO_OWNER);
    base_map_remove(&rank->homes, home_key(home->id));
    rank->homes_live--;
    base_free(home);
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
            home->owner = from;
            home->is_given_up = 0;
            forward_offers(rank, home);
            answer_lookups(rank, home, from);
        }
        message_send(rank, from, MESSAGE_REGISTERED, *header, NULL, 0);
        return;
    }
    struct home *home = base_map_find(&rank->homes, home_key(header->parent));
    if (home && message.what == REGISTER_GONE && home->owner == from) {
        free_home(rank, home);
    } else if (message.what == REGISTER_GIVEN_UP && (home = get_home(rank, header->parent))) {
        home->is_given_up = 1;
        refuse_offers(rank, home);
        answer_lookups(rank, home, NO_OWNER);
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
    if (home && home->owner != NO_OWNER) {
        send_offer(rank, header->parent, header->position, home->owner, &message);
        base_free(offer);
    } else if (offer) {
        offer->position = header->position;
        offer->message = message;
        base_list_push_back(&home->offers, &offer->link);
        if (home->is_given_up) {
            refuse_offers(rank, home);
        }
    }
}

void home_on_lookup(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct home *home = get_home(rank, header->parent);
    struct home_lookup *lookup;
    if (!home || home->is_given_up) {
        send_found(rank, header->parent, header->position, from, NO_OWNER);
    } else if (home->owner != NO_OWNER) {
        send_found(rank, header->parent, header->position, from, home->owner);
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
        if (home->owner == dead) {
            home->owner = NO_OWNER;
        }
    }
}

/* One that has an owner goes when that says so. */
void home_clear(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->homes, &at, &key, &value)) {
        struct home *home = value;
        if (home->owner == NO_OWNER) {
            free_home(rank, home);
            at = 0;
        }
    }
}
