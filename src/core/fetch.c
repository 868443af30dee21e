#include "core/fetch.h"

#include "core/exec.h"
#include "core/heirs.h"
#include "core/message.h"
#include "core/node.h"
#include "core/object.h"
#include "core/pack.h"
#include "core/registry.h"
#include "core/spill.h"

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

/* ---- Copies --------------------------------------------------------------------------------- */

static struct wire_header about(const struct copy *copy)
{
    return (struct wire_header){
        .parent = copy->of.parent, .position = copy->of.position, .token = copy->token};
}

static void ask(struct rank *rank, struct copy *copy)
{
    struct message_want want = {copy->of};
    copy->agent = node_agent(rank, key_of(&copy->of));
    copy->token = ++rank->wants;
    message_send(rank, copy->agent, MESSAGE_WANT, about(copy), &want, sizeof want);
}

struct copy *fetch_begin(struct rank *rank, const struct location *of, struct fetch_wait *wait,
                         int *ret_code)
{
    struct copy *copy = find(rank, of);
    if (!copy && (comm_node_index(rank->comm, of->rank) != COMM_ELSEWHERE ||
                  heirs_server(rank, of->rank) == UINT32_MAX)) {
        *ret_code = MANTA_E_LOST;
        return NULL;
    }
    *ret_code = MANTA_E_NOMEM;
    if (!copy) {
        copy = base_alloc(sizeof *copy);
        if (!copy || base_map_insert(&rank->copies, key_of(of), copy) != MANTA_OK) {
            base_free(copy);
            return NULL;
        }
        copy->of = *of;
        base_list_init(&copy->waits);
        base_list_init(&copy->idle);
        ask(rank, copy);
    }
    copy->sharers++;
    if (!copy->is_over) {
        base_list_push_back(&copy->waits, &wait->link);
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
    if (copy->is_claimed) {
        heirs_end_claim_place(rank, copy->agent, copy->offset);
    }
    if (copy->code == MANTA_OK && !rank->down[copy->agent]) {
        message_send(rank, copy->agent, MESSAGE_UNWANT, about(copy), NULL, 0);
    }
    base_free(copy);
}

/* ---- Kept by values ------------------------------------------------------------------------- */

static void set_busy(struct rank *rank, struct copy *copy)
{
    if (!base_list_is_empty(&copy->idle)) {
        base_list_remove(&copy->idle);
        rank->idle_copy_bytes -= copy->of.bytes;
    }
}

static void set_idle_if_so(struct rank *rank, struct copy *copy)
{
    if (copy->keeper && copy->readers == 0 && base_list_is_empty(&copy->idle)) {
        base_list_push_back(&rank->idle_copies, &copy->idle);
        rank->idle_copy_bytes += copy->of.bytes;
        spill_show(rank);
    }
}

void fetch_keep(struct rank *rank, struct copy *copy, struct output *output)
{
    output->copy = copy;
    output->data = copy->data;
    copy->keeper = copy->keeper ? copy->keeper : output;
    set_idle_if_so(rank, copy);
}

void fetch_stay(struct rank *rank, struct copy *copy)
{
    copy->keeper = NULL;
    set_busy(rank, copy);
}

void fetch_let_go(struct rank *rank, struct output *output)
{
    struct copy *copy = output->copy;
    if (copy && copy->keeper == output) {
        fetch_stay(rank, copy);
    }
    output->copy = NULL;
    fetch_drop(rank, copy);
}

void fetch_begin_read(struct rank *rank, const struct location *of)
{
    struct copy *copy = fetch_find(rank, of);
    if (copy) {
        copy->readers++;
        set_busy(rank, copy);
    }
}

void fetch_end_read(struct rank *rank, const struct location *of)
{
    struct copy *copy = fetch_find(rank, of);
    if (copy && copy->readers) {
        copy->readers--;
        set_idle_if_so(rank, copy);
    }
}

uint64_t fetch_release(struct rank *rank, uint64_t bytes)
{
    uint64_t released = 0;
    while (released < bytes && !base_list_is_empty(&rank->idle_copies)) {
        struct copy *copy = MT_CONTAINER(rank->idle_copies.next, struct copy, idle);
        released += copy->of.bytes;
        copy->keeper->data = NULL;
        fetch_let_go(rank, copy->keeper);
    }
    return released;
}

/* ---- Being told ----------------------------------------------------------------------------- */

void fetch_on_here(struct rank *rank, uint32_t from, const struct wire_header *header,
                   struct wire_reader *body)
{
    struct copy *copy = base_map_find(&rank->copies, core_key(header->parent, header->position));
    struct message_here here;
    const void *bytes = wire_take(body, sizeof here);
    uint32_t index = comm_node_index(rank->comm, from);
    struct base_list *link;
    if (!bytes || !copy || copy->is_over || copy->agent != from || copy->token != header->token) {
        return;
    }
    memcpy(&here, bytes, sizeof here);
    copy->data = here.code == MANTA_OK && index != COMM_ELSEWHERE
                     ? store_at(rank->options.store, index, here.offset)
                     : NULL;
    copy->offset = here.offset;
    copy->code = here.code == MANTA_OK && !copy->data ? MANTA_E_NOMEM : here.code;
    copy->is_over = true;
    if (copy->code != MANTA_OK) { /* whoever comes now tries anew */
        base_map_remove(&rank->copies, key_of(&copy->of));
    }
    copy->sharers++; /* of those who wait may be the last */
    while ((link = base_list_pop_front(&copy->waits))) {
        struct fetch_wait *wait = MT_CONTAINER(link, struct fetch_wait, link);
        wait->over(rank, wait->arg, copy);
    }
    fetch_drop(rank, copy);
}

void fetch_peer_down(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->copies, &at, &key, &value)) {
        struct copy *copy = value;
        if (copy->agent == dead && !copy->is_over) {
            ask(rank, copy);
        }
    }
}

void fetch_claim_all(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->copies, &at, &key, &value)) {
        struct copy *copy = value;
        if (copy->data && rank->down[copy->agent] && !copy->is_claimed) {
            copy->is_claimed = heirs_claim_place(rank, copy->agent, copy->offset);
        }
    }
}

/* ---- Before a task starts ------------------------------------------------------------------- */

enum { AHEAD_PART = 8 };

/* One argument of a run that comes from another node. */
struct fetched {
    struct fetched *next;
    struct run *run;
    struct copy *copy;
    struct fetch_wait wait;
    uint64_t ahead_bytes; /* in the rank's sum */
};

static void copy_is_here(struct rank *rank, void *arg, struct copy *copy)
{
    struct run *run = ((struct fetched *)arg)->run;
    run->code = copy->code ? copy->code : run->code; /* why the start will not find it */
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
    fetched->ahead_bytes = fetched->copy->sharers == 1 ? of->bytes : 0;
    rank->ahead_bytes += fetched->ahead_bytes;
    fetched->next = run->fetched;
    run->fetched = fetched;
    run->fetches_missing += !fetched->copy->is_over;
}

/* Bytes of a run's arguments that are in no store of this node; calls each(rank, run, of) for them,
 * if it is not NULL. */
static uint64_t walk_arguments(struct rank *rank, struct run *run,
                               void (*each)(struct rank *rank, struct run *run,
                                            const struct location *of))
{
    uint64_t bytes = 0;
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    while (rank->options.store && pack_next(&walk, &arg)) {
        struct location of;
        if (!arg.is_stored) {
            continue;
        }
        run->has_stored = run->has_more = 1;
        memcpy(&of, arg.data, sizeof of);
        if (of.rank < rank->size && !stored_data(rank, &of)) {
            bytes += of.bytes;
            if (each) {
                each(rank, run, &of);
            }
        }
    }
    return bytes;
}

static bool has_room_ahead(const struct rank *rank, uint64_t bytes)
{
    uint64_t limit = store_get_stats(rank->options.store).bound_bytes / AHEAD_PART;
    return rank->ahead_bytes == 0 || rank->ahead_bytes + bytes <= limit;
}

static bool ask_for_run(struct rank *rank, struct run *run)
{
    (void)walk_arguments(rank, run, fetch_argument);
    return run->fetches_missing > 0;
}

bool fetch_for_run(struct rank *rank, struct run *run)
{
    uint64_t bytes = walk_arguments(rank, run, NULL);
    if (bytes == 0) {
        return false;
    }
    if (base_list_is_empty(&rank->unfetched) && has_room_ahead(rank, bytes)) {
        return ask_for_run(rank, run);
    }
    base_list_push_back(&rank->unfetched, &run->link);
    return true;
}

static void ask_for_first(struct rank *rank)
{
    struct run *run = MT_CONTAINER(base_list_pop_front(&rank->unfetched), struct run, link);
    if (!ask_for_run(rank, run)) {
        exec_queue_fetched(rank, run);
    }
}

static void ask_for_next(struct rank *rank)
{
    while (!base_list_is_empty(&rank->unfetched)) {
        struct run *run = MT_CONTAINER(rank->unfetched.next, struct run, link);
        if (!has_room_ahead(rank, walk_arguments(rank, run, NULL))) {
            return;
        }
        ask_for_first(rank);
    }
}

void fetch_all_waiting(struct rank *rank)
{
    while (!base_list_is_empty(&rank->unfetched)) {
        ask_for_first(rank);
    }
}

static bool end_ahead(struct rank *rank, struct run *run)
{
    uint64_t before = rank->ahead_bytes;
    for (struct fetched *fetched = run->fetched; fetched; fetched = fetched->next) {
        rank->ahead_bytes -= fetched->ahead_bytes;
        fetched->ahead_bytes = 0;
    }
    return rank->ahead_bytes < before;
}

void fetch_start_run(struct rank *rank, struct run *run)
{
    if (end_ahead(rank, run)) {
        ask_for_next(rank);
    }
}

void fetch_end_run(struct rank *rank, struct run *run)
{
    bool was_ahead = end_ahead(rank, run);
    while (run->fetched) {
        struct fetched *fetched = run->fetched;
        run->fetched = fetched->next;
        base_list_remove(&fetched->wait.link);
        fetch_drop(rank, fetched->copy);
        base_free(fetched);
    }
    if (was_ahead) {
        ask_for_next(rank);
    }
}
