/*
 * Drafts: values that are filled where they will be read.
 *
 * manta_put_begin takes a block of the store, or memory of the rank's own for what travels inside
 * messages, and lends it to the program; manta_put_end seals it and makes it the value of a record
 * like any other put's. There is no ref before, so nobody can wait for, or look at, what is not yet
 * written. A draft that is forgotten goes with the scope, or the scope block, that it was begun in.
 *
 * A draft is known by a number and not by its address, so a program that ends one twice is told so.
 * They are searched from the latest: a program has few open, and ends the one it has just filled.
 */
#include "core/context.h"
#include "core/layout.h"
#include "core/put.h"
#include "core/room.h"

struct draft {
    struct base_list link; /* rank->drafts */
    uint64_t id;
    const struct scope *scope;
    uint32_t depth; /* marks of blocks when it was begun */
    bool is_stored;
    struct store_room store;
    void *data;
    uint64_t bytes; /* of the data; behind it the layout, if it has one */
    manta_layout layout;
};

static bool is_typed(const struct draft *room)
{
    return room->layout.dtype != MANTA_DTYPE_NONE;
}

static uint64_t whole_bytes(const struct draft *room)
{
    return is_typed(room) ? layout_whole_bytes(room->bytes) : room->bytes;
}

static int take_memory(struct context *context, struct draft *room)
{
    struct rank *rank = context->rank;
    uint64_t bytes = whole_bytes(room);
    if (stored_is_wanted(rank, bytes)) {
        struct store_tag tag = {.parent = room->scope->id};
        room->is_stored = true;
        int code = room_create(context, bytes, &tag, &room->store);
        room->data = room->store.data;
        return code;
    }
    if (bytes > MANTA_INLINE_MAX) {
        return put_refuse_without_store(context, bytes);
    }
    room->data = base_alloc_aligned(16, MT_ALIGN_UP(bytes + 1, (size_t)16));
    return room->data ? MANTA_OK
                      : context_fail(context, MANTA_E_NOMEM, "no memory for another value");
}

/* Baton held. */
static int begin(struct context *context, const manta_layout *layout, uint64_t bytes,
                 manta_room *ret_room)
{
    struct rank *rank = context->rank;
    struct scope *scope = context_scope(context);
    struct draft *room = scope ? base_alloc(sizeof *room) : NULL;
    if (!room) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for another value");
    }
    *room = (struct draft){.scope = scope, .depth = scope->block_count, .bytes = bytes};
    room->layout = *layout;
    int code = take_memory(context, room);
    if (code != MANTA_OK) {
        base_free(room);
        return code;
    }
    room->id = ++rank->draft_serial;
    base_list_push_front(&rank->drafts, &room->link);
    *ret_room = (manta_room){room->data, room->id};
    return MANTA_OK;
}

int manta_put_begin(const manta_layout *layout, manta_room *ret_room)
{
    struct context *context = context_enter();
    char text[MANTA_ERROR_TEXT_MAX];
    uint64_t bytes;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!layout || !ret_room) {
        return context_fail(context, MANTA_E_INVALID, "%s is NULL", layout ? "ret_room" : "layout");
    }
    int code = layout_check(layout, &bytes, text, sizeof text);
    if (code != MANTA_OK) {
        return context_fail(context, code, "%s", text);
    }
    context_take(context);
    code = begin(context, layout, bytes, ret_room);
    context_give(context);
    return code;
}

static struct draft *find(struct context *context, uint64_t id)
{
    BASE_LIST_EACH(&context->rank->drafts, link)
    {
        struct draft *room = MT_CONTAINER(link, struct draft, link);
        if (room->id == id) {
            return room;
        }
    }
    (void)context_fail(
        context, MANTA_E_STATE,
        "the room is not open: it was ended or given up before, or the scope in which "
        "it was begun has ended");
    return NULL;
}

/* Its memory is somebody else's now if `is_taken`. */
static void forget(struct rank *rank, struct draft *room, bool is_taken)
{
    base_list_remove(&room->link);
    if (!room->is_stored) {
        base_free(room->data);
    } else if (!is_taken) {
        room_abandon(rank, &room->store);
    }
    base_free(room);
}

static manta_ref end(struct context *context, struct draft *room)
{
    struct value_part part = {.data = room->data,
                              .bytes = whole_bytes(room),
                              .is_typed = is_typed(room),
                              .is_stored = room->is_stored};
    bool is_taken;
    if (part.is_typed) {
        layout_write(room->data, room->bytes, &room->layout);
    }
    manta_ref ref = put_finished(context, &part, &is_taken);
    forget(context->rank, room, is_taken);
    return ref;
}

manta_ref manta_put_end(manta_room room)
{
    struct context *context = context_enter();
    manta_ref ref = {0};
    if (!context) {
        return ref;
    }
    context_take(context);
    struct draft *found = find(context, room.id);
    if (found) {
        ref = end(context, found);
    }
    context_give(context);
    return ref;
}

int manta_put_abandon(manta_room room)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    context_take(context);
    struct draft *found = find(context, room.id);
    if (found) {
        forget(context->rank, found, false);
    }
    context_give(context);
    return found ? MANTA_OK : MANTA_E_STATE;
}

void put_give_back(struct rank *rank, const struct scope *scope, uint32_t depth)
{
    struct base_list *link = rank->drafts.next;
    while (link != &rank->drafts) {
        struct draft *room = MT_CONTAINER(link, struct draft, link);
        link = link->next;
        if (room->scope == scope && room->depth >= depth) {
            forget(rank, room, false);
        }
    }
}
