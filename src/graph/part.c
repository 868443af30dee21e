/* A rank's part of a graph. The essay is in part.h. */
#include "graph/part.h"

#include "base/alloc.h"

#include <string.h>

/* ---- Reading -------------------------------------------------------------------------------- */

struct reader {
    uint8_t *at;
    size_t left;
};

/* An array of what travels; NULL: there is less than that. */
static void *take(struct reader *reader, size_t count, size_t size)
{
    size_t bytes = MT_ALIGN_UP(count * size, (size_t)16);
    void *here = reader->at;
    if (!here || bytes > reader->left) {
        reader->at = NULL;
        return NULL;
    }
    reader->at += bytes;
    reader->left -= bytes;
    return here;
}

static bool take_arrays(struct part *part, struct reader reader)
{
    const struct part_head *head = take(&reader, 1, sizeof *head);
    if (!head) {
        return false;
    }
    part->head = *head;
    part->nodes = take(&reader, head->nodes, sizeof *part->nodes);
    part->values = take(&reader, head->values, sizeof *part->values);
    part->binds = take(&reader, head->binds, sizeof *part->binds);
    part->dests = take(&reader, head->dests, sizeof *part->dests);
    part->downs = take(&reader, head->downs, sizeof *part->downs);
    part->ups = take(&reader, head->ups, sizeof *part->ups);
    part->args = take(&reader, head->args, 1);
    return part->args && reader.left == 0;
}

/* Their binds and values follow each other. */
static bool check_nodes(struct part *part)
{
    const struct part_head *head = &part->head;
    uint64_t binds = 0, made = 0;
    bool is_sound = head->nodes != 0 && head->nodes <= PLAN_NODES_MAX;
    for (uint32_t i = 0; is_sound && i < head->nodes; i++) {
        const struct part_node *node = &part->nodes[i];
        is_sound = node->first_bind == binds && node->first_value == made && node->values != 0 &&
                   node->first_arg <= head->args && memchr(node->name, 0, sizeof node->name);
        binds += node->binds;
        made += node->values;
    }
    part->made = (uint32_t)made;
    return is_sound && binds == head->binds && made <= head->values;
}

static bool check_values(const struct part *part)
{
    const struct part_head *head = &part->head;
    uint64_t dests = 0;
    bool is_sound = true;
    for (uint32_t i = 0; is_sound && i < head->values; i++) {
        const struct part_value *value = &part->values[i];
        is_sound = value->first_dest == dests && value->bytes <= MANTA_GRAPH_VALUE_MAX;
        dests += value->dests;
    }
    for (uint32_t i = 0; is_sound && i < head->dests; i++) {
        is_sound = part->dests[i].down < head->downs;
    }
    return is_sound && dests == head->dests;
}

/* How a parameter of each kind may be bound. */
static bool is_bound_as(const manta_param *param, uint32_t kind)
{
    switch (param->kind) {
    case MANTA_KIND_VAL:
    case MANTA_KIND_SPAN:
        return kind == BIND_VAL;
    case MANTA_KIND_TEXT:
        return kind == BIND_VAL || kind == BIND_NULL;
    case MANTA_KIND_IN:
        return kind == BIND_IN || kind == BIND_INPUT;
    case MANTA_KIND_INOUT:
        return kind == BIND_INOUT || kind == BIND_INOUT_INPUT;
    case MANTA_KIND_OUT:
        return kind == BIND_OUT;
    default:
        return param->kind == MANTA_KIND_OUTV && kind == BIND_OUTV;
    }
}

/* Its bytes are there, as the body may read them; a text ends. */
static bool check_argument(const struct part *part, const struct part_node *node,
                           const manta_param *param, const struct plan_bind *bind)
{
    bool is_text = param->kind == MANTA_KIND_TEXT;
    uint64_t at = (uint64_t)node->first_arg + bind->value;
    uint64_t end = at + (uint64_t)bind->count * (is_text ? 1 : param->size);
    return at % 16 == 0 && bind->count >= (param->kind == MANTA_KIND_VAL) &&
           end + is_text <= part->head.args && !(is_text && part->args[end]);
}

/* *made is the value that a node makes next. */
static bool check_bind(const struct part *part, const struct part_node *node,
                       const manta_param *param, const struct plan_bind *bind, uint32_t *made)
{
    if (bind->kind == BIND_NULL) {
        return true;
    }
    if (bind->kind == BIND_VAL) {
        return check_argument(part, node, param, bind);
    }
    if (bind->value >= part->head.values || bind->element != param->size || !bind->element) {
        return false;
    }
    if (plan_is_input(bind)) {
        return bind->value >= part->made &&
               (bind->feed == PLAN_NONE || bind->feed < part->head.values);
    }
    return plan_is_edge(bind) ||
           (bind->value == (*made)++ &&
            (bind->kind != BIND_OUT || part->values[bind->value].bytes >= bind->element));
}

/* Every parameter is bound, in order; an inout's copy comes behind it. */
static bool check_binds(const struct part *part, const struct part_node *node,
                        const manta_function *function)
{
    const struct plan_bind *bind = &part->binds[node->first_bind], *end = bind + node->binds;
    uint32_t made = node->first_value;
    for (uint32_t i = 0; i < function->param_count; i++, bind++) {
        const manta_param *param = &function->params[i];
        if (bind == end || bind->param != i || !is_bound_as(param, bind->kind) ||
            !check_bind(part, node, param, bind, &made)) {
            return false;
        }
        if (param->kind == MANTA_KIND_INOUT &&
            (++bind == end || bind->param != i || bind->kind != BIND_COPY ||
             !check_bind(part, node, param, bind, &made))) {
            return false;
        }
    }
    return bind == end && MT_MAX(made - node->first_value, 1u) == node->values;
}

static int check_functions(struct part *part, manta_function *(*find)(uint32_t hash))
{
    bool is_sound = true;
    for (uint32_t i = 0; is_sound && i < part->head.nodes; i++) {
        const struct part_node *node = &part->nodes[i];
        part->functions[i] = find(node->function);
        if (!part->functions[i]) {
            return MANTA_E_VERSION;
        }
        is_sound = check_binds(part, node, part->functions[i]);
    }
    return is_sound ? MANTA_OK : MANTA_E_TYPE;
}

/* ---- Making --------------------------------------------------------------------------------- */

/* Where `rank` is in a row that rises; PLAN_NONE: not there. */
static uint32_t find_rank(const uint32_t *ranks, uint32_t count, uint32_t rank)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranks[middle] < rank) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && ranks[low] == rank ? low : PLAN_NONE;
}

/* Who waits for a value: once its readers are counted, and once they are noted in part->nexts. */
static void link_bind(struct part *part, uint32_t node, const struct plan_bind *bind)
{
    if (plan_is_edge(bind)) {
        struct part_value *value = &part->values[bind->value];
        if (part->nexts) {
            part->nexts[value->first_next + value->nexts] = node;
        }
        value->nexts++;
    } else if (plan_is_fed(bind)) {
        struct part_value *value = &part->values[bind->feed];
        if (part->nexts) {
            part->nexts[value->first_later + value->laters] = node;
        }
        value->laters++;
    }
}

static void link_all(struct part *part)
{
    for (uint32_t i = 0; i < part->head.values; i++) {
        part->values[i].nexts = part->values[i].laters = 0;
    }
    for (uint32_t i = 0; i < part->head.nodes; i++) {
        struct part_node *node = &part->nodes[i];
        node->need = node->need_first = 0;
        for (uint32_t j = 0; j < node->binds; j++) {
            const struct plan_bind *bind = &part->binds[node->first_bind + j];
            link_bind(part, i, bind);
            node->need_first += plan_is_edge(bind);
            node->need += plan_is_edge(bind) || plan_is_fed(bind);
        }
    }
}

static int make_links(struct part *part)
{
    uint32_t total = 0;
    link_all(part);
    for (uint32_t i = 0; i < part->head.values; i++) {
        struct part_value *value = &part->values[i];
        value->first_next = total;
        value->first_later = total + value->nexts;
        total += value->nexts + value->laters;
    }
    part->nexts = base_alloc((total + 1) * sizeof *part->nexts);
    if (!part->nexts) {
        return MANTA_E_NOMEM;
    }
    link_all(part);
    return MANTA_OK;
}

/* Values of a known size lie one after the other, the slots of one together. Not aligned_alloc:
 * what is never used of a large arena is never touched. */
static int make_slots(struct part *part)
{
    size_t total = MT_CACHE_LINE, count = (size_t)part->head.values * PART_DEPTH;
    part->slots = base_alloc((count + 1) * sizeof *part->slots);
    for (uint32_t i = 0; i < part->head.values; i++) {
        total += MT_ALIGN_UP((size_t)part->values[i].bytes, (size_t)16) * PART_DEPTH;
    }
    part->arena = base_alloc(total);
    if (!part->slots || !part->arena) {
        return MANTA_E_NOMEM;
    }
    uint8_t *at = (uint8_t *)MT_ALIGN_UP((uintptr_t)part->arena, (uintptr_t)MT_CACHE_LINE);
    for (size_t i = 0; i < count; i++) {
        uint32_t bytes = part->values[i / PART_DEPTH].bytes;
        part->slots[i] = (struct part_slot){.data = at, .bytes = bytes, .room = bytes};
        at += MT_ALIGN_UP((size_t)bytes, (size_t)16);
    }
    for (uint32_t i = 0; i < part->head.binds; i++) {
        if (plan_is_input(&part->binds[i])) {
            for (uint32_t round = 0; round < PART_DEPTH; round++) {
                part_slot(part, part->binds[i].value, round)->is_input = true;
            }
        }
    }
    return MANTA_OK;
}

static int make_state(struct part *part)
{
    size_t count = (size_t)part->head.nodes * PART_DEPTH, ring = 1;
    while (ring <= count) {
        ring *= 2;
    }
    part->ready_mask = (uint32_t)(ring - 1);
    part->missing = base_alloc(count * sizeof *part->missing);
    part->held = base_alloc(count * sizeof *part->held);
    part->ready = base_alloc(ring * sizeof *part->ready);
    part->down_done = base_alloc((part->head.downs + 1) * sizeof *part->down_done);
    part->up_told = base_alloc((part->head.ups + 1) * sizeof *part->up_told);
    part->up_of_down = base_alloc((part->head.downs + 1) * sizeof *part->up_of_down);
    if (!part->missing || !part->held || !part->ready || !part->down_done || !part->up_told ||
        !part->up_of_down) {
        return MANTA_E_NOMEM;
    }
    for (uint32_t i = 0; i < part->head.downs; i++) {
        part->up_of_down[i] = find_rank(part->ups, part->head.ups, part->downs[i]);
    }
    int code = make_links(part);
    return code ? code : make_slots(part);
}

static int make(struct part *part, const void *bytes, size_t size,
                manta_function *(*find)(uint32_t hash))
{
    part->block = base_alloc_aligned(MT_CACHE_LINE, MT_ALIGN_UP(size + 1, (size_t)MT_CACHE_LINE));
    if (!part->block) {
        return MANTA_E_NOMEM;
    }
    memcpy(part->block, bytes, size);
    if (!take_arrays(part, (struct reader){part->block, size}) || !check_nodes(part) ||
        !check_values(part)) {
        return MANTA_E_TYPE;
    }
    part->functions = base_alloc(part->head.nodes * sizeof(manta_function *));
    if (!part->functions) {
        return MANTA_E_NOMEM;
    }
    int code = check_functions(part, find);
    return code ? code : make_state(part);
}

int part_create(const void *bytes, size_t size, manta_function *(*find)(uint32_t hash),
                struct part **ret_part)
{
    struct part *part = base_alloc(sizeof *part);
    int code = part ? make(part, bytes, size, find) : MANTA_E_NOMEM;
    if (code != MANTA_OK) {
        part_destroy(part);
        return code;
    }
    *ret_part = part;
    return MANTA_OK;
}

void part_destroy(struct part *part)
{
    if (!part) {
        return;
    }
    for (size_t i = 0; part->slots && i < (size_t)part->head.values * PART_DEPTH; i++) {
        if (part->slots[i].is_own) {
            base_free(part->slots[i].data);
        }
    }
    base_free(part->functions);
    base_free(part->nexts);
    base_free(part->missing);
    base_free(part->held);
    base_free(part->ready);
    base_free(part->down_done);
    base_free(part->up_told);
    base_free(part->up_of_down);
    base_free(part->slots);
    base_free(part->arena);
    base_free(part->block);
    base_free(part);
}

bool part_slot_reserve(struct part_slot *slot, uint32_t bytes)
{
    if (MT_LIKELY(bytes <= slot->room)) {
        return true;
    }
    void *data =
        base_alloc_aligned(MT_CACHE_LINE, MT_ALIGN_UP((size_t)bytes, (size_t)MT_CACHE_LINE));
    if (!data) {
        return false;
    }
    if (slot->is_own) {
        base_free(slot->data);
    }
    slot->data = data;
    slot->bytes = 0;
    slot->room = bytes;
    slot->is_own = true;
    return true;
}

/* ---- Running -------------------------------------------------------------------------------- */

static void push(struct part *part, uint32_t node, uint32_t round)
{
    part->ready[part->ready_tail++ & part->ready_mask] = (struct part_ready){node, round};
}

/* It waits for nothing but its round. */
static void make_ready(struct part *part, uint32_t node, uint32_t round)
{
    if (round < part->open) {
        push(part, node, round);
    } else {
        part->held[(size_t)node * PART_DEPTH + round % PART_DEPTH] =
            part->held_first[round % PART_DEPTH];
        part->held_first[round % PART_DEPTH] = node;
    }
}

/* Nodes that wait for nothing are ready as soon as their round is open; so, in the first round, are
 * those that wait for fed edges only. */
static void open_round(struct part *part, uint32_t round)
{
    uint32_t node = part->held_first[round % PART_DEPTH];
    part->held_first[round % PART_DEPTH] = PLAN_NONE;
    while (node != PLAN_NONE) {
        uint32_t next = part->held[(size_t)node * PART_DEPTH + round % PART_DEPTH];
        push(part, node, round);
        node = next;
    }
    for (uint32_t i = 0; i < part->head.nodes && (round == 0 || part->has_sources); i++) {
        if ((round ? part->nodes[i].need : part->nodes[i].need_first) == 0) {
            push(part, i, round);
        }
    }
}

/* How far everybody who reads our values is decides. */
static void open_more(struct part *part)
{
    uint32_t done = part->done;
    for (uint32_t i = 0; i < part->head.downs; i++) {
        done = MT_MIN(done, part->down_done[i]);
    }
    uint32_t open = MT_MIN(part->rounds, done + PART_DEPTH - 1);
    while (part->open < open) {
        open_round(part, part->open++);
    }
}

void part_begin(struct part *part)
{
    part->rounds = part->done = part->open = 0;
    part->ready_head = part->ready_tail = 0;
    part->has_sources = false;
    for (uint32_t i = 0; i < part->head.nodes; i++) {
        part->has_sources |= part->nodes[i].need == 0;
        for (uint32_t round = 0; round < PART_DEPTH; round++) {
            part->missing[(size_t)i * PART_DEPTH + round] =
                round ? part->nodes[i].need : part->nodes[i].need_first;
        }
    }
    for (uint32_t round = 0; round < PART_DEPTH; round++) {
        part->left[round] = part->head.nodes;
        part->held_first[round] = PLAN_NONE;
    }
    for (size_t i = (size_t)part->made * PART_DEPTH; i < (size_t)part->head.values * PART_DEPTH;
         i++) {
        part->slots[i].came = 0;
    }
    memset(part->down_done, 0, part->head.downs * sizeof *part->down_done);
    memset(part->up_told, 0, part->head.ups * sizeof *part->up_told);
}

void part_start(struct part *part, uint32_t rounds)
{
    part->rounds = rounds;
    open_more(part);
}

struct part_ready part_take(struct part *part)
{
    return part->ready[part->ready_head++ & part->ready_mask];
}

const struct part_slot *part_source(const struct part *part, const struct plan_bind *bind,
                                    uint32_t round)
{
    if (!plan_is_input(bind)) {
        return part_slot(part, bind->value, round);
    }
    return round && bind->feed != PLAN_NONE ? part_slot(part, bind->feed, round - 1)
                                            : part_slot(part, bind->value, 0);
}

static void satisfy(struct part *part, uint32_t first, uint32_t count, uint32_t round)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = part->nexts[first + i];
        uint32_t *missing = &part->missing[(size_t)node * PART_DEPTH + round % PART_DEPTH];
        if (--*missing == 0) {
            make_ready(part, node, round);
        }
    }
}

void part_arrived(struct part *part, uint32_t value, uint32_t round)
{
    const struct part_value *of = &part->values[value];
    satisfy(part, of->first_next, of->nexts, round);
    satisfy(part, of->first_later, of->laters, round + 1);
}

bool part_ended(struct part *part, struct part_ready of)
{
    const struct part_node *node = &part->nodes[of.node];
    uint32_t slot = of.round % PART_DEPTH, done = part->done;
    part->missing[(size_t)of.node * PART_DEPTH + slot] = node->need;
    for (uint32_t i = 0; i < node->values; i++) {
        part_arrived(part, node->first_value + i, of.round);
    }
    part->left[slot]--;
    while (part->left[part->done % PART_DEPTH] == 0) {
        part->left[part->done++ % PART_DEPTH] = part->head.nodes;
    }
    if (part->done == done) {
        return false;
    }
    open_more(part);
    return true;
}

void part_down_done(struct part *part, uint32_t from, uint32_t done)
{
    uint32_t down = find_rank(part->downs, part->head.downs, from);
    if (down != PLAN_NONE && part->down_done[down] < done) {
        part->down_done[down] = done;
        open_more(part);
    }
}

bool part_must_tell(const struct part *part, uint32_t up)
{
    return part->done - part->up_told[up] >= 2;
}
