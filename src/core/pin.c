#include "core/pin.h"

#include "core/context.h"
#include "core/exec.h"
#include "core/fetch.h"
#include "core/heirs.h"
#include "core/idle.h"
#include "core/message.h"
#include "core/pack.h"
#include "core/room.h"
#include "core/wait.h"

struct pin {
    struct location of;
    uint32_t count;
    uint8_t is_asked;       /* an answer will come */
    struct base_list waits; /* of struct pin_wait */
    struct spill_want want; /* where this rank answers for it */
    struct rank *rank;
};

static struct base_key key_of(const struct location *of)
{
    return (struct base_key){of->rank, of->offset};
}

static struct pin *find(struct rank *rank, const struct location *of)
{
    return base_map_find(&rank->pins, key_of(of));
}

bool pin_is_held(struct rank *rank, const struct location *of)
{
    const struct pin *pin = find(rank, of);
    return pin && pin->count;
}

bool pin_is_counted(const struct pin *pin, struct location *ret_of)
{
    *ret_of = pin->of;
    return pin->count > 0;
}

static bool is_near(struct rank *rank, const struct location *of)
{
    return comm_node_index(rank->comm, of->rank) != COMM_ELSEWHERE;
}

/* ---- One location --------------------------------------------------------------------------- */

static struct pin *make(struct rank *rank, const struct location *of)
{
    struct pin *pin = base_alloc(sizeof *pin);
    if (!pin || base_map_insert(&rank->pins, key_of(of), pin) != MANTA_OK) {
        base_free(pin);
        return NULL;
    }
    pin->of = *of;
    pin->rank = rank;
    base_list_init(&pin->waits);
    base_list_init(&pin->want.link);
    rank->pinned_bytes += of->bytes;
    return pin;
}

static void free_if_unused(struct rank *rank, struct pin *pin)
{
    if (pin->count == 0 && !pin->is_asked) {
        rank->pinned_bytes -= pin->of.bytes;
        base_map_remove(&rank->pins, key_of(&pin->of));
        base_free(pin);
    }
}

/* Each that waits has a count of its own from before it hears of it. */
static void arrive(struct rank *rank, struct pin *pin, int code)
{
    struct base_list waits, *link;
    pin->is_asked = 0;
    pin->count++;
    base_list_init(&waits);
    base_list_splice(&waits, &pin->waits);
    while ((link = base_list_pop_front(&waits))) {
        struct pin_wait *wait = MT_CONTAINER(link, struct pin_wait, link);
        pin->count += code == MANTA_OK;
        wait->over(rank, wait->arg, code);
    }
    pin->count--;
    free_if_unused(rank, pin);
    spill_show(rank);
}

static void arrive_here(struct rank *rank, void *arg, int code)
{
    arrive(rank, arg, code);
}

/* MANTA_OK: it is there after all. */
static int ask_for(struct rank *rank, struct pin *pin)
{
    uint32_t server = heirs_server(rank, pin->of.rank); /* this rank is on that node, and lives */
    int code = MANTA_E_AGAIN;
    if (server == rank->number) {
        pin->want.over = arrive_here;
        pin->want.arg = pin;
        code = spill_want(rank, &pin->of, &pin->want);
    } else {
        struct wire_header about = {.parent = pin->of.parent, .position = pin->of.position};
        struct message_restore message = {.offset = pin->of.offset, .rank = pin->of.rank};
        message_send(rank, server, MESSAGE_RESTORE, about, &message, sizeof message);
    }
    pin->is_asked = code == MANTA_E_AGAIN;
    return code;
}

/* What the dead had made leave only the heir can make stay. */
static bool is_there(struct rank *rank, const struct location *of)
{
    struct store_place at = {comm_node_index(rank->comm, of->rank), of->offset};
    return store_get_state(rank->options.store, at) == STORE_SEALED;
}

static bool is_same(const struct location *a, const struct location *b)
{
    return a->parent == b->parent && a->position == b->position;
}

int pin_take(struct rank *rank, const struct location *of, struct pin_wait *wait)
{
    if (!is_near(rank, of)) {
        fetch_begin_read(rank, of);
        return MANTA_OK;
    }
    struct pin *pin = find(rank, of);
    pin = pin ? pin : make(rank, of);
    if (!pin) {
        return MANTA_E_NOMEM;
    }
    if (!is_same(&pin->of, of)) { /* asked for once, and freed before the answer */
        rank->pinned_bytes += of->bytes - pin->of.bytes;
        pin->of = *of;
        pin->is_asked = 0;
        base_list_remove(&pin->want.link);
    }
    int code = pin->count || is_there(rank, of) ? MANTA_OK
               : pin->is_asked                  ? MANTA_E_AGAIN
                                                : ask_for(rank, pin);
    if (code == MANTA_OK) {
        pin->count++;
    } else if (code == MANTA_E_AGAIN) {
        base_list_push_back(&pin->waits, &wait->link);
    } else {
        free_if_unused(rank, pin);
    }
    spill_show(rank);
    return code;
}

void pin_drop(struct rank *rank, const struct location *of)
{
    if (!is_near(rank, of)) {
        fetch_end_read(rank, of);
        return;
    }
    struct pin *pin = find(rank, of);
    if (pin && --pin->count == 0) {
        spill_touch(rank, of);
        free_if_unused(rank, pin);
        spill_show(rank);
    }
}

/* ---- Contexts ------------------------------------------------------------------------------- */

struct pinning {
    struct pin_wait wait;
    struct waiter waiter;
    int code;
};

static void pin_is_here(struct rank *rank, void *arg, int code)
{
    struct pinning *pinning = arg;
    pinning->code = code;
    waiter_notify(rank, &pinning->waiter, 0);
}

static int wait_until_pinned(struct context *context, const struct location *of)
{
    struct rank *rank = context->rank;
    struct pinning pinning = {.wait = {.over = pin_is_here, .arg = &pinning},
                              .waiter = {.context = context, .missing = 1}};
    base_list_init(&pinning.wait.link);
    int code = pin_take(rank, of, &pinning.wait);
    if (code != MANTA_E_AGAIN) {
        return code;
    }
    room_squeeze_begin(rank);
    code = wait_for(context, &pinning.waiter, BASE_FOREVER);
    room_squeeze_end(rank);
    base_list_remove(&pinning.wait.link);
    if (code != MANTA_OK && !pinning.waiter.missing && pinning.code == MANTA_OK) {
        pin_drop(rank, of); /* it came, but too late */
    }
    return code ? code : pinning.code;
}

int pin_wait_for(struct context *context, const struct location *of)
{
    int code = wait_until_pinned(context, of);
    if (code == MANTA_E_LIMIT) {
        return room_refuse(context, of->bytes, "are to come back from disk");
    }
    const char *what = code == MANTA_E_LOST       ? "the value could not be read back whole"
                       : code == MANTA_E_SHUTDOWN ? "the job is ending"
                                                  : "the value did not come back";
    return code == MANTA_OK
               ? MANTA_OK
               : context_fail(context, code, "%s: its %llu bytes were on the disk for spilling",
                              what, (unsigned long long)of->bytes);
}

/* ---- Between ranks -------------------------------------------------------------------------- */

/* A block of ours that another rank wants. */
struct remote_want {
    struct spill_want want;
    struct location of;
    uint32_t from;
};

static void send_restored(struct rank *rank, uint32_t to, const struct location *of, int code)
{
    struct wire_header about = {.parent = of->parent, .position = of->position};
    struct message_restore message = {.offset = of->offset, .rank = of->rank, .code = code};
    message_send(rank, to, MESSAGE_RESTORED, about, &message, sizeof message);
}

static void remote_over(struct rank *rank, void *arg, int code)
{
    struct remote_want *remote = arg;
    send_restored(rank, remote->from, &remote->of, code);
    base_free(remote);
}

static bool read_restore(const struct rank *rank, const struct wire_header *header,
                         struct wire_reader *body, struct location *ret_of, int *ret_code)
{
    struct message_restore message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes || !rank->options.store) {
        return false;
    }
    memcpy(&message, bytes, sizeof message);
    *ret_of = (struct location){header->parent, header->position, message.rank, message.offset, 0};
    *ret_code = message.code;
    return true;
}

void pin_on_restore(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct location of;
    int code;
    if (!read_restore(rank, header, body, &of, &code)) {
        return;
    }
    struct remote_want *remote = base_alloc(sizeof *remote);
    if (!remote) {
        send_restored(rank, from, &of, MANTA_E_NOMEM);
        return;
    }
    *remote = (struct remote_want){{.over = remote_over, .arg = remote}, of, from};
    base_list_init(&remote->want.link);
    code = spill_want(rank, &of, &remote->want);
    if (code != MANTA_E_AGAIN) {
        remote_over(rank, remote, code);
    }
}

void pin_on_restored(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct location of;
    int code;
    struct pin *pin = read_restore(rank, header, body, &of, &code) ? find(rank, &of) : NULL;
    if (pin && pin->is_asked && is_same(&pin->of, &of)) {
        arrive(rank, pin, code);
    }
}

/* The next to answer is asked, or nobody can. */
void pin_peer_down(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->pins, &at, &key, &value)) {
        struct pin *pin = value;
        if (pin->is_asked && base_list_is_empty(&pin->want.link) && rank->down[pin->of.rank]) {
            int code = is_there(rank, &pin->of) ? MANTA_OK : ask_for(rank, pin);
            if (code != MANTA_E_AGAIN) {
                arrive(rank, pin, code);
                at = 0; /* the map may have changed */
            }
        }
    }
}

void pin_fini(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *pin;
    while (base_map_next(&rank->pins, &at, &key, &pin)) {
        base_free(pin);
    }
    base_map_fini(&rank->pins);
}

/* ---- Views ---------------------------------------------------------------------------------- */

struct view {
    struct view *next;
    manta_ref ref;
    struct location of;
};

int pin_add_view(struct scope *scope, manta_ref ref, const struct location *of)
{
    struct view *view = base_alloc(sizeof *view);
    if (!view) {
        return MANTA_E_NOMEM;
    }
    *view = (struct view){scope->pinned, ref, *of};
    scope->pinned = view;
    return MANTA_OK;
}

static bool is_of(const struct view *view, const manta_ref *ref)
{
    return !ref || (view->ref.parent == ref->parent && view->ref.position == ref->position);
}

static bool end_first(struct rank *rank, struct scope *scope, const manta_ref *ref)
{
    struct view **at = &scope->pinned, *view;
    while ((view = *at) && !is_of(view, ref)) {
        at = &view->next;
    }
    if (view) {
        *at = view->next;
        pin_drop(rank, &view->of);
        base_free(view);
    }
    return view != NULL;
}

void pin_end_view(struct rank *rank, struct scope *scope, manta_ref ref)
{
    (void)end_first(rank, scope, &ref);
}

void pin_end_all_views(struct rank *rank, struct scope *scope, const manta_ref *ref)
{
    while (end_first(rank, scope, ref)) {}
}

void pin_end_views_from(struct rank *rank, struct scope *scope, uint32_t position)
{
    const struct view *view = scope->pinned, *next;
    for (; view; view = next) {
        next = view->next;
        if (view->ref.parent == scope->id && view->ref.position >= position) {
            (void)end_first(rank, scope, &view->ref);
        }
    }
}

/* ---- Runs ----------------------------------------------------------------------------------- */

/* The arguments of a run that lie in stores of this node. */
struct start {
    struct base_list link; /* in rank->starting, while it waits to be admitted */
    struct run *run;
    uint32_t count, missing; /* missing: asked for, and not here yet */
    uint8_t is_extra;        /* it was let in although the others should have had the room */
    struct start_arg {
        struct pin_wait wait;
        struct location of;
        struct start *start;
        uint8_t is_pinned;
    } args[MANTA_PARAM_MAX];
};

static struct start *make_start(struct rank *rank, struct run *run)
{
    struct pack_walk walk = pack_walk_run(run);
    struct start *start = base_alloc(sizeof *start);
    struct pack_arg arg;
    while (start && pack_next(&walk, &arg)) {
        struct location of = {0};
        if (arg.is_stored) {
            memcpy(&of, arg.data, sizeof of);
        }
        if (of.bytes && of.rank < rank->size && is_near(rank, &of)) {
            struct start_arg *next = &start->args[start->count++];
            next->of = of;
            next->start = start;
            base_list_init(&next->wait.link);
        }
    }
    if (start) {
        start->run = run;
        base_list_init(&start->link);
        run->start = start;
    }
    return start;
}

struct need {
    uint64_t bytes, new_bytes; /* new: that this rank has not in use yet */
    bool is_here;              /* all of it */
};

static struct need need_of(struct rank *rank, const struct start *start)
{
    struct need need = {.is_here = true};
    for (uint32_t i = 0; i < start->count; i++) {
        const struct location *of = &start->args[i].of;
        const struct pin *pin = find(rank, of);
        need.bytes += of->bytes;
        need.new_bytes += pin ? 0 : of->bytes;
        need.is_here &= (pin && pin->count) || is_there(rank, of);
    }
    return need;
}

/* It fits, with all that is in use on the node. For who has the claim. */
static bool fits(struct rank *rank, const struct need *need)
{
    uint64_t bound = store_get_stats(rank->options.store).bound_bytes;
    uint64_t pinned = store_get_pinned(rank->options.store);
    return pinned == 0 || pinned + need->new_bytes <= bound / 2;
}

/* It may be what all the others wait for; one at a time on the node. */
static bool is_let_in(struct rank *rank, struct start *start)
{
    if (!room_is_quiet(rank) || store_has_extra(rank->options.store)) {
        return false;
    }
    rank->room->has_extra = start->is_extra = 1;
    return true;
}

static void argument_is_here(struct rank *rank, void *arg, int code)
{
    struct start_arg *argument = arg;
    struct run *run = argument->start->run;
    argument->is_pinned = code == MANTA_OK;
    run->code = code == MANTA_OK ? run->code : code;
    if (--argument->start->missing == 0) {
        exec_queue_fetched(rank, run);
    }
}

static void take_all(struct rank *rank, struct start *start)
{
    base_list_remove(&start->link);
    for (uint32_t i = 0; i < start->count; i++) {
        struct start_arg *arg = &start->args[i];
        arg->wait.over = argument_is_here;
        arg->wait.arg = arg;
        int code = pin_take(rank, &arg->of, &arg->wait);
        arg->is_pinned = code == MANTA_OK;
        start->missing += code == MANTA_E_AGAIN;
        if (code != MANTA_OK && code != MANTA_E_AGAIN) {
            start->run->code = code;
        }
    }
}

/* Takes it all into use if that is right now. False: it is not. */
static bool admit(struct rank *rank, struct start *start)
{
    struct store *store = rank->options.store;
    struct need need = need_of(rank, start);
    bool is_free = need.is_here && (need.new_bytes == 0 || rank->pinned_bytes == 0);
    if (is_free) {
        take_all(rank, start);
        return true;
    }
    if (!store_begin_claim(store)) {
        return false;
    }
    bool is_admitted = fits(rank, &need) || is_let_in(rank, start);
    if (is_admitted) {
        take_all(rank, start);
        spill_show(rank);
    }
    store_end_claim(store);
    return is_admitted;
}

bool pin_run(struct rank *rank, struct run *run)
{
    struct start *start = run->start;
    if (start) {
        return true;
    }
    if (!(start = make_start(rank, run))) {
        run->code = MANTA_E_NOMEM;
        return true;
    }
    if (need_of(rank, start).bytes > store_get_stats(rank->options.store).bound_bytes) {
        run->code = MANTA_E_TOOBIG;
        return true;
    }
    run->state = RUN_FETCHING;
    if (base_list_is_empty(&rank->starting) && admit(rank, start)) {
        return start->missing == 0;
    }
    base_list_push_back(&rank->starting, &start->link);
    rank->room->is_waited_for = 1;
    rank->stats.room_waits++;
    idle_rouse_rarely(rank);
    return false;
}

void pin_end_run(struct rank *rank, struct run *run)
{
    struct start *start = run->start;
    for (uint32_t i = 0; i < start->count; i++) {
        struct start_arg *arg = &start->args[i];
        base_list_remove(&arg->wait.link);
        if (arg->is_pinned) {
            pin_drop(rank, &arg->of);
        }
    }
    base_list_remove(&start->link);
    rank->room->has_extra &= !start->is_extra;
    spill_show(rank);
    run->start = NULL;
    base_free(start);
}

void pin_tick(struct rank *rank)
{
    BASE_LIST_EACH(&rank->starting, link)
    {
        struct start *start = MT_CONTAINER(link, struct start, link);
        if (!admit(rank, start)) {
            break; /* in their order: a large one gets its turn */
        }
        if (start->missing == 0) {
            exec_queue_fetched(rank, start->run);
        }
    }
    rank->room->is_waited_for = !base_list_is_empty(&rank->starting);
}

bool pin_refuse_last(struct rank *rank)
{
    if (base_list_is_empty(&rank->starting)) {
        return false;
    }
    struct start *start = MT_CONTAINER(rank->starting.prev, struct start, link);
    base_list_remove(&start->link);
    start->run->code = MANTA_E_LIMIT;
    base_free(start->run->error);
    start->run->error = base_alloc(sizeof *start->run->error);
    if (start->run->error) {
        start->run->error->code = MANTA_E_LIMIT;
        room_say_full(rank, start->run->error->text, sizeof start->run->error->text);
    }
    exec_queue_fetched(rank, start->run);
    return true;
}
