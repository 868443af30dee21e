/*
 * Settling a death.
 *
 * What a dead rank held may be all that protects a ref that a survivor has just got. So its shares
 * stay until every survivor has registered what it holds with the owners, and these have
 * acknowledged. Rank 0 counts who has settled and then clears the death: the owners forget the dead
 * rank's shares. Until then the children of re-executed parents are kept too (grace), because their
 * holders may still be on the way to them.
 */
#include "core/heirs.h"
#include "core/message.h"
#include "core/recover.h"
#include "core/task.h"

/* A death this rank has heard of; at rank 0: and who has settled it. */
struct settling {
    struct base_list link;
    uint32_t dead;
    uint8_t *settled; /* by rank: it has; rank 0 only */
    uint32_t count;   /* of the living among these */
    uint8_t is_told, is_cleared;
    uint8_t is_heard; /* we know of the death ourselves */
};

static void free_settling(struct settling *settling)
{
    base_free(settling->settled);
    base_free(settling);
}

static struct settling *get_settling(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->settling, link)
    {
        struct settling *settling = MT_CONTAINER(link, struct settling, link);
        if (settling->dead == dead) {
            return settling;
        }
    }
    struct settling *settling = base_alloc(sizeof *settling);
    if (settling && rank->number == 0 && !(settling->settled = base_alloc(rank->size))) {
        base_free(settling);
        return NULL;
    }
    if (settling) {
        settling->dead = dead;
        base_list_push_back(&rank->settling, &settling->link);
    }
    return settling;
}

static void tell_settled(struct rank *rank)
{
    BASE_LIST_EACH(&rank->settling, link)
    {
        struct settling *settling = MT_CONTAINER(link, struct settling, link);
        if (settling->is_heard && !settling->is_told) {
            settling->is_told = 1;
            message_send(rank, 0, MESSAGE_SETTLED, (struct wire_header){.position = settling->dead},
                         NULL, 0);
        }
    }
}

void recover_settle_one(struct rank *rank)
{
    if (--rank->settles_missing == 0) {
        tell_settled(rank);
    }
}

static void clear_if_settled(struct rank *rank, struct settling *settling)
{
    if (rank->number || settling->count < rank->size - rank->deaths) {
        return;
    }
    settling->is_cleared = 1;
    for (uint32_t i = 0; i < rank->size; i++) {
        if (!rank->down[i]) {
            message_send(rank, i, MESSAGE_CLEARED,
                         (struct wire_header){.position = settling->dead, .token = rank->deaths},
                         NULL, 0);
        }
    }
}

void recover_on_settled(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    if (rank->number != 0 || header->position >= rank->size) {
        body->failed = true;
        return;
    }
    struct settling *settling = get_settling(rank, header->position);
    if (settling && !settling->settled[from]) {
        settling->settled[from] = 1;
        settling->count++;
        clear_if_settled(rank, settling);
    }
}

/* A child of a re-executed parent. */
struct grace {
    struct base_list link;
    struct task *task;
    uint32_t lost_on, deaths;
};

static bool is_settled(const struct rank *rank, uint32_t lost_on, uint32_t deaths)
{
    return base_list_is_empty(&rank->settling) && rank->deaths >= deaths &&
           (lost_on >= rank->size || rank->down[lost_on]);
}

void recover_grace(struct rank *rank, struct scope *scope, struct task *task)
{
    struct grace *grace;
    if (is_settled(rank, scope->lost_on, scope->deaths) || !(grace = base_alloc(sizeof *grace))) {
        return;
    }
    *grace = (struct grace){.task = task, .lost_on = scope->lost_on, .deaths = scope->deaths};
    base_list_push_back(&rank->graced, &grace->link);
    object_hold(&task->object);
}

static void end_grace(struct rank *rank)
{
    struct base_list over;
    base_list_init(&over);
    BASE_LIST_EACH(&rank->graced, link)
    {
        struct grace *grace = MT_CONTAINER(link, struct grace, link);
        if (is_settled(rank, grace->lost_on, grace->deaths)) {
            base_list_remove(link);
            base_list_push_back(&over, link);
        }
    }
    struct base_list *link;
    while ((link = base_list_pop_front(&over))) {
        struct grace *grace = MT_CONTAINER(link, struct grace, link);
        object_drop(rank, &grace->task->object);
        base_free(grace);
    }
}

static void forget_holder(struct rank *rank, uint32_t dead)
{
    for (uint32_t i = 1; i < rank->tasks.fresh; i++) {
        struct task *task = base_slab_at(&rank->tasks, i);
        if (task->object.kind && task->extra && task->extra->holders) {
            holders_forget(rank, task, dead);
        }
    }
}

void recover_on_cleared(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    if (from != 0 || header->position >= rank->size) {
        body->failed = true;
        return;
    }
    struct settling *settling = get_settling(rank, header->position);
    forget_holder(rank, header->position);
    if (settling) {
        base_list_remove(&settling->link);
        free_settling(settling);
    }
    heirs_cleared(rank, header->position, header->token);
    end_grace(rank);
}

/* Borrows of ours that the owner has not acknowledged might be protected by the dead rank alone: it
 * hears of us now. */
static void register_all(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->borrows, &at, &key, &value)) {
        struct borrow *borrow = value;
        struct guard *guard;
        if (rank->down[borrow->ref.owner] || borrow->is_looking || borrow->is_acknowledged ||
            !(guard = base_spares_take(&rank->spare_guards))) {
            continue;
        }
        guard->settles = 1;
        rank->settles_missing++;
        object_register(rank, borrow, guard);
    }
}

/* The death is not settled before the new owner knows that we hold this. */
void recover_settle_with(struct rank *rank, struct borrow *borrow)
{
    struct guard *guard = base_spares_take(&rank->spare_guards);
    if (guard) {
        guard->settles = 1;
        rank->settles_missing++;
        base_list_push_back(&borrow->guards, &guard->link);
    }
}

void recover_settle(struct rank *rank, uint32_t dead)
{
    struct settling *settling = get_settling(rank, dead);
    if (settling) {
        settling->is_heard = 1;
        register_all(rank);
        if (rank->settles_missing == 0) {
            tell_settled(rank);
        }
    }
    BASE_LIST_EACH(&rank->settling, link)
    {
        struct settling *other = MT_CONTAINER(link, struct settling, link);
        other->count -= other->settled && other->settled[dead];
        if (!other->is_cleared) {
            clear_if_settled(rank, other);
        }
    }
}

void recover_fini(struct rank *rank)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&rank->settling))) {
        free_settling(MT_CONTAINER(link, struct settling, link));
    }
    home_forget_given_up(rank);
}
