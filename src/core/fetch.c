#include "core/fetch.h"

#include "core/exec.h"
#include "core/message.h"
#include "core/node.h"
#include "core/object.h"
#include "core/pack.h"
#include "core/registry.h"

static struct base_key key_of(const struct location *of)
{
    return core_key(of->parent, of->position);
}

static struct copy *find(struct rank *rank, const struct location *of)
{
    return base_map_find(&rank->copies, key_of(of));
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

struct copy *fetch_begin(struct rank *rank, const struct location *of, struct fetch_wait *wait)
{
    struct copy *copy = find(rank, of);
    if (!copy) {
        copy = base_alloc(sizeof *copy);
        if (!copy || base_map_insert(&rank->copies, key_of(of), copy) != MANTA_OK) {
            base_free(copy);
            return NULL;
        }
        copy->of = *of;
        base_list_init(&copy->waits);
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
    base_map_remove(&rank->copies, key_of(&copy->of));
    if (copy->code == MANTA_OK && !rank->down[copy->agent]) {
        message_send(rank, copy->agent, MESSAGE_UNWANT, about(copy), NULL, 0);
    }
    base_free(copy);
}

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
    copy->code = here.code == MANTA_OK && !copy->data ? MANTA_E_NOMEM : here.code;
    copy->is_over = true;
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
    run->code = copy->code ? copy->code : run->code; /* why the start will not find it */
    if (--run->fetches_missing == 0) {
        exec_queue_fetched(rank, run);
    }
}

static void fetch_argument(struct rank *rank, struct run *run, const struct location *of)
{
    struct fetched *fetched = base_alloc(sizeof *fetched);
    if (!fetched) {
        run->code = MANTA_E_NOMEM;
        return;
    }
    base_list_init(&fetched->wait.link);
    fetched->wait.over = copy_is_here;
    fetched->wait.arg = fetched;
    fetched->run = run;
    fetched->copy = fetch_begin(rank, of, &fetched->wait);
    if (!fetched->copy) {
        run->code = MANTA_E_NOMEM; /* why the start will not find it */
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
