/* A variable output while its body fills it: of a task, or the next item of its stream. */
#ifndef CORE_OUTV_H
#define CORE_OUTV_H

#include "core/rank.h"
#include "store/store.h"

struct manta_outv {
    uint32_t element_bytes, dtype;
    bool is_refs, is_stored; /* stored: data is room's */
    bool is_typed;           /* a layout is behind the data */
    struct part_slot *slot;  /* of a recorded task: where the data goes */
    void *data;
    size_t count;
    struct store_tag tag; /* of its block */
    struct store_room room;
};

/* Room for `count` elements in the store. Baton held, but for the time it takes to wait for it and
 * to clear pages. The code, and last_error. */
int outv_make_room(struct context *context, struct manta_outv *outv, size_t count);
/* Gives back what it has, unless that is a value's by now (is_collected). */
void outv_free(struct rank *rank, struct manta_outv *outv, bool is_collected);

#endif
