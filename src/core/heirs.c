#include "core/heirs.h"

#include "core/fetch.h"
#include "core/message.h"
#include "core/object.h"
#include "core/pack.h"
#include "core/recover.h"
#include "core/replica.h"
#include "core/spill.h"
#include "core/spread.h"
#include "core/stream.h"
#include "core/task.h"
#include "store/store.h"

#define NOBODY UINT32_MAX

enum claim_what { CLAIM_BEGINS, CLAIM_ENDS, CLAIM_MARK };

/* A block of an inherited share, one that is claimed before the share is, or one of the own
 * share that is claimed. */
struct heirloom {
    struct base_list link; /* while it is to go */
    struct location of;    /* parent and position once it is left; no bytes */
    bool is_left;          /* to the claimants: it goes when there are none */
    bool is_copy;          /* of another node's value: read without pins, so it stays in memory */
    uint32_t count, capacity;
    uint32_t *claimants; /* ranks */
};

/* What is known of another rank, from the first death on. */
struct heir_peer {
    uint64_t died_ns;
    uint32_t marks;     /* sent to it, not answered */
    uint32_t marked_at; /* death number of the last */
    bool is_inherited;
};

static struct base_key key_of(uint32_t share, uint64_t place)
{
    return (struct base_key){place, share};
}

uint32_t heirs_server(const struct rank *rank, uint32_t share)
{
    uint32_t node = rank_node(rank, share);
    if (MT_LIKELY(!rank->down[share])) {
        return share;
    }
    for (uint32_t i = node; i < rank->size; i++) {
        if (!rank->down[i] && rank_node(rank, i) == node) {
            return i;
        }
    }
    return NOBODY;
}

uint64_t heirs_died_ns(const struct rank *rank, uint32_t dead)
{
    return rank->heirs.peers ? rank->heirs.peers[dead].died_ns : 0;
}

/* ---- Claiming ------------------------------------------------------------------------------- */

static void tell(struct rank *rank, uint32_t server, enum claim_what what, uint32_t share,
                 uint64_t place)
{
    struct wire_header about = {.position = share, .attempt = (uint8_t)what};
    if (server != NOBODY) {
        message_send(rank, server, MESSAGE_CLAIM, about, &place, sizeof place);
    }
}

/* How many here name the place. */
bool heirs_claim_place(struct rank *rank, uint32_t share, uint64_t place)
{
    struct base_map *claims = &rank->heirs.claims;
    uintptr_t count = (uintptr_t)base_map_find(claims, key_of(share, place));
    if (base_map_insert(claims, key_of(share, place), (void *)(count + 1)) != MANTA_OK) {
        return false;
    }
    if (count == 0) {
        tell(rank, heirs_server(rank, share), CLAIM_BEGINS, share, place);
    }
    return true;
}

void heirs_end_claim_place(struct rank *rank, uint32_t share, uint64_t place)
{
    struct base_map *claims = &rank->heirs.claims;
    uintptr_t count = (uintptr_t)base_map_remove(claims, key_of(share, place));
    if (count <= 1) {
        tell(rank, heirs_server(rank, share), CLAIM_ENDS, share, place);
    } else if (base_map_insert(claims, key_of(share, place), (void *)(count - 1)) != MANTA_OK) {
        return; /* cannot happen: a slot has just been freed */
    }
}

static void claim_output(struct rank *rank, struct output *output)
{
    if (!output->is_claimed) {
        output->is_claimed = heirs_claim_place(rank, output->place.rank, output->place.offset);
    }
}

void heirs_claim(struct rank *rank, struct output *output)
{
    if (rank->down[output->place.rank]) {
        claim_output(rank, output);
    }
}

void heirs_end_claim(struct rank *rank, struct output *output)
{
    if (output->is_claimed) {
        output->is_claimed = false;
        heirs_end_claim_place(rank, output->place.rank, output->place.offset);
    }
}

static void each_place(struct rank *rank, struct run *run,
                       void (*each)(struct rank *rank, struct run *run, uint16_t bit,
                                    const struct location *place))
{
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    while (pack_next(&walk, &arg)) {
        struct location place;
        if (arg.is_stored) {
            memcpy(&place, arg.data, sizeof place);
            each(rank, run, (uint16_t)(1u << arg.index), &place);
        }
    }
}

static void claim_argument(struct rank *rank, struct run *run, uint16_t bit,
                           const struct location *place)
{
    if (place->rank < rank->size && (rank->down[place->rank] || run->is_orphan) &&
        !(run->claims & bit) && heirs_claim_place(rank, place->rank, place->offset)) {
        run->claims |= bit;
        run->has_more = 1;
    }
}

static void end_argument(struct rank *rank, struct run *run, uint16_t bit,
                         const struct location *place)
{
    if (run->claims & bit) {
        heirs_end_claim_place(rank, place->rank, place->offset);
    }
}

void heirs_claim_run(struct rank *rank, struct run *run)
{
    if (rank->deaths) {
        each_place(rank, run, claim_argument);
    }
}

void heirs_end_run(struct rank *rank, struct run *run)
{
    if (run->claims) {
        each_place(rank, run, end_argument);
    }
    run->claims = 0;
}

static void claim_value(struct rank *rank, struct value *value,
                        void (*claim)(struct rank *rank, struct output *output))
{
    for (uint32_t i = 0; value && value->stored_outputs && i < value->outputs; i++) {
        if (value->output[i].is_stored) {
            claim(rank, &value->output[i]);
        }
    }
}

/* A borrow whose owner died is protected by nobody, wherever its bytes lie. */
static void claim_all(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    for (uint32_t i = 1; i < rank->tasks.fresh; i++) {
        struct task *task = base_slab_at(&rank->tasks, i);
        if (task->object.kind == OBJECT_TASK) {
            claim_value(rank, task->object.value, heirs_claim);
        }
    }
    while (base_map_next(&rank->borrows, &at, &key, &value)) {
        struct borrow *borrow = value;
        claim_value(rank, borrow->object.value,
                    borrow->ref.owner == dead ? claim_output : heirs_claim);
    }
    inbox_claim_all(rank);
    fetch_claim_all(rank);
    for (uint32_t i = 1; i < rank->runs.fresh; i++) {
        struct run *run = base_slab_at(&rank->runs, i);
        if (run->id && run->index == i && run->state != RUN_FINISHED) {
            heirs_claim_run(rank, run);
        }
    }
}

/* ---- A death -------------------------------------------------------------------------------- */

/* What the dead rank served is claimed with the next. */
static void claim_again(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->heirs.claims, &at, &key, &value)) {
        uint32_t share = (uint32_t)key.low, server = heirs_server(rank, share);
        bool was_served = share == dead || server == NOBODY || server > dead;
        if (rank_node(rank, share) == rank_node(rank, dead) && was_served) {
            tell(rank, server, CLAIM_BEGINS, share, key.high);
        }
    }
}

/* The death is not settled before the heirs know what is claimed here. */
static void mark(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->heirs.claims, &at, &key, &value)) {
        uint32_t server = heirs_server(rank, (uint32_t)key.low);
        struct heir_peer *peer = server == NOBODY ? NULL : &rank->heirs.peers[server];
        if (peer && peer->marked_at != rank->deaths) {
            peer->marked_at = rank->deaths;
            peer->marks++;
            rank->settles_missing++;
            tell(rank, server, CLAIM_MARK, 0, 0);
        }
    }
}

static void inherit_all(struct rank *rank);

void heirs_peer_down(struct rank *rank, uint32_t dead)
{
    struct heirs *heirs = &rank->heirs;
    if (!heirs->peers && !(heirs->peers = base_alloc(rank->size * sizeof *heirs->peers))) {
        return;
    }
    heirs->peers[dead].died_ns = base_now_ns(rank->host) - rank->started_ns;
    if (!rank->options.store || rank->is_stopped) { /* nobody reads or settles any more */
        return;
    }
    rank->settles_missing -= heirs->peers[dead].marks;
    heirs->peers[dead].marks = 0;
    claim_again(rank, dead);
    claim_all(rank, dead);
    inherit_all(rank);
    mark(rank);
}

/* ---- The heir's side ------------------------------------------------------------------------ */

static struct heirloom *get_heirloom(struct rank *rank, uint32_t share, uint64_t place)
{
    struct base_map *all = &rank->heirs.heirlooms;
    struct heirloom *heirloom = base_map_find(all, key_of(share, place));
    if (heirloom || !(heirloom = base_alloc(sizeof *heirloom))) {
        return heirloom;
    }
    base_list_init(&heirloom->link);
    heirloom->of = (struct location){.rank = share, .offset = place};
    if (base_map_insert(all, key_of(share, place), heirloom) != MANTA_OK) {
        base_free(heirloom);
        return NULL;
    }
    return heirloom;
}

static void add_claimant(struct heirloom *heirloom, uint32_t claimant)
{
    for (uint32_t i = 0; i < heirloom->count; i++) {
        if (heirloom->claimants[i] == claimant) {
            return;
        }
    }
    if (heirloom->count == heirloom->capacity) {
        uint32_t capacity = heirloom->capacity ? heirloom->capacity * 2 : 2;
        uint32_t *more = base_realloc(heirloom->claimants, heirloom->capacity * sizeof *more,
                                      capacity * sizeof *more);
        if (!more) {
            return;
        }
        heirloom->claimants = more;
        heirloom->capacity = capacity;
    }
    heirloom->claimants[heirloom->count++] = claimant;
}

static void remove_claimant(struct heirloom *heirloom, uint32_t claimant)
{
    for (uint32_t i = 0; i < heirloom->count; i++) {
        if (heirloom->claimants[i] == claimant) {
            heirloom->claimants[i] = heirloom->claimants[--heirloom->count];
            return;
        }
    }
}

static void free_heirloom(struct rank *rank, struct heirloom *heirloom)
{
    base_map_remove(&rank->heirs.heirlooms, key_of(heirloom->of.rank, heirloom->of.offset));
    base_list_remove(&heirloom->link);
    base_free(heirloom->claimants);
    base_free(heirloom);
}

static void free_block(struct rank *rank, struct heirloom *heirloom)
{
    if (heirloom->is_left) {
        spread_free(rank, &heirloom->of);
    }
    free_heirloom(rank, heirloom);
}

/* Those for which `goes` is true. */
static void sweep(struct rank *rank, bool (*goes)(struct heirloom *heirloom, uint32_t arg),
                  uint32_t arg)
{
    struct base_list over, *link;
    uint32_t at = 0;
    struct base_key key;
    void *value;
    base_list_init(&over);
    while (base_map_next(&rank->heirs.heirlooms, &at, &key, &value)) {
        if (goes(value, arg)) {
            base_list_push_back(&over, &((struct heirloom *)value)->link);
        }
    }
    while ((link = base_list_pop_front(&over))) {
        free_block(rank, MT_CONTAINER(link, struct heirloom, link));
    }
}

static bool is_unclaimed(struct heirloom *heirloom, uint32_t arg)
{
    return heirloom->count == 0;
}

static bool is_absent(struct heirloom *heirloom, uint32_t share)
{
    return heirloom->of.rank == share && !heirloom->is_left;
}

static bool is_settled(const struct rank *rank)
{
    return base_list_is_empty(&rank->settling) && rank->deaths >= rank->heirs.deaths_needed;
}

void heirs_free(struct rank *rank, const struct location *of)
{
    struct heirloom *heirloom = base_map_find(&rank->heirs.heirlooms, key_of(of->rank, of->offset));
    if (!heirloom && !is_settled(rank)) {
        heirloom = get_heirloom(rank, of->rank, of->offset);
    }
    if (!heirloom) {
        spread_free(rank, of);
        return;
    }
    heirloom->is_left = true;
    if (heirloom->count == 0 && is_settled(rank)) {
        free_block(rank, heirloom);
    }
}

/* For the walk only. */
struct inheriting {
    struct rank *rank;
    uint32_t share;
};

static bool keep_block(void *arg, uint64_t place, const struct store_tag *tag)
{
    const struct inheriting *inheriting = arg;
    struct heirloom *heirloom = get_heirloom(inheriting->rank, inheriting->share, place);
    if (heirloom) {
        heirloom->of.parent = tag->parent;
        heirloom->of.position = tag->position;
        heirloom->is_left = true;
        heirloom->is_copy = tag->function == REPLICA_TAG;
    }
    return true;
}

/* They may be spilled like the own ones, or are already. */
static void add_all(struct rank *rank, uint32_t share)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->heirs.heirlooms, &at, &key, &value)) {
        const struct heirloom *heirloom = value;
        if (heirloom->of.rank == share && heirloom->is_left && !heirloom->is_copy) {
            spill_add(rank, &heirloom->of);
        }
    }
}

static void inherit(struct rank *rank, uint32_t share)
{
    struct inheriting inheriting = {rank, share};
    rank->heirs.peers[share].is_inherited = true;
    if (store_inherit(rank->options.store, comm_node_index(rank->comm, share), keep_block,
                      &inheriting) == MANTA_OK) {
        add_all(rank, share);
    }
    sweep(rank, is_absent, share);
}

static void inherit_all(struct rank *rank)
{
    for (uint32_t i = rank_node(rank, rank->number); i < rank->size; i++) {
        if (rank->down[i] && !rank->heirs.peers[i].is_inherited &&
            comm_node_index(rank->comm, i) != COMM_ELSEWHERE &&
            heirs_server(rank, i) == rank->number) {
            inherit(rank, i);
        }
    }
    spill_try_early(rank);
}

bool heirs_may_inherit(const struct rank *rank, uint32_t share)
{
    const struct heir_peer *peers = rank->heirs.peers;
    return share != rank->number && share < rank->size &&
           comm_node_index(rank->comm, share) != COMM_ELSEWHERE &&
           (peers ? !peers[share].is_inherited : !rank->deaths);
}

void heirs_cleared(struct rank *rank, uint32_t dead, uint32_t deaths)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    rank->heirs.deaths_needed = MT_MAX(rank->heirs.deaths_needed, deaths);
    while (base_map_next(&rank->heirs.heirlooms, &at, &key, &value)) {
        remove_claimant(value, dead);
    }
    if (is_settled(rank)) {
        sweep(rank, is_unclaimed, 0);
    }
}

/* A claim may come before the death of which it speaks is known here, or when its block is gone. */
void heirs_on_claim(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    uint64_t place = wire_get_u64(body);
    uint32_t share = header->position;
    bool is_inherited =
        rank->heirs.peers && share < rank->size && rank->heirs.peers[share].is_inherited;
    if (share >= rank->size || body->failed) {
        body->failed = true;
        return;
    }
    struct heirloom *heirloom = header->attempt == CLAIM_BEGINS && !is_inherited
                                    ? get_heirloom(rank, share, place)
                                    : base_map_find(&rank->heirs.heirlooms, key_of(share, place));
    if (header->attempt == CLAIM_MARK) {
        message_send(rank, from, MESSAGE_CLAIMED, (struct wire_header){0}, NULL, 0);
    } else if (heirloom && header->attempt == CLAIM_BEGINS) {
        add_claimant(heirloom, from);
    } else if (heirloom) {
        remove_claimant(heirloom, from);
        if (heirloom->count == 0 && is_settled(rank)) {
            free_block(rank, heirloom);
        }
    }
}

void heirs_on_claimed(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct heir_peer *peers = rank->heirs.peers;
    if (peers && peers[from].marks) {
        peers[from].marks--;
        recover_settle_one(rank);
    }
}

bool heirs_are_busy(const struct rank *rank)
{
    return rank->heirs.heirlooms.count > 0;
}

void heirs_fini(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->heirs.heirlooms, &at, &key, &value)) {
        base_free(((struct heirloom *)value)->claimants);
        base_free(value);
    }
    base_map_fini(&rank->heirs.heirlooms);
    base_map_fini(&rank->heirs.claims);
    base_free(rank->heirs.peers);
}
