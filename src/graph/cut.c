/*
 * From a plan to parts.
 *
 * Each rank numbers the values that it has: those of its nodes, in order, then the mirrors and
 * inputs that its nodes read, as they come. All ranks are numbered twice, in the same way: the
 * first time to learn under which number every value is known elsewhere, the second time to write
 * the part. Time and memory grow with the plan, not with plan times ranks.
 */
#include "base/alloc.h"
#include "graph/part.h"

#include <stdlib.h>
#include <string.h>

/* What is made while cutting. */
struct cutter {
    const struct plan *plan;
    struct plan_cut *cut;
    uint32_t (*hash)(const manta_function *function);
    uint32_t *first_node, *nodes; /* by rank: its nodes are nodes[first_node[r] ...] */
    uint32_t *local, *seen;       /* by value: its number on the rank `seen` - 1 */
    uint32_t *here;               /* by number: the value */
    uint32_t count;               /* of them */
    struct plan_use *uses;        /* mirrors, then the same ordered by value: */
    size_t use_count, use_room, input_room;
    uint32_t *first_use; /* by value */
};

/* ---- Where nodes go ------------------------------------------------------------------------- */

/* The node whose first edge it reads; PLAN_NONE. */
static uint32_t leader_of(const struct plan *plan, const struct plan_node *node)
{
    for (uint32_t i = 0; i < node->binds; i++) {
        const struct plan_bind *bind = &plan->binds[node->first_bind + i];
        if (plan_is_edge(bind)) {
            return plan->values[bind->value].node;
        }
    }
    return PLAN_NONE;
}

static bool is_free(const struct plan *plan, const struct plan_node *node)
{
    return node->rank == PLAN_NONE && leader_of(plan, node) == PLAN_NONE;
}

static uint32_t by_pattern(const struct plan *plan, uint64_t index, uint64_t count)
{
    return plan->pattern == MANTA_CYCLIC ? (uint32_t)(index % plan->ranks)
                                         : (uint32_t)(index * plan->ranks / count);
}

/* Who stands in for a rank that is down: the next one that is not. */
static uint32_t substitute(uint32_t rank, uint32_t ranks, const uint8_t *down)
{
    for (uint32_t i = 0; i < ranks && down[rank]; i++) {
        rank = (rank + 1) % ranks;
    }
    return rank;
}

static void place(const struct plan *plan, const uint8_t *down, uint32_t *rank_of)
{
    uint64_t count = 0, index = 0;
    for (size_t i = 0; i < plan->node_count; i++) {
        count += is_free(plan, &plan->nodes[i]);
    }
    for (size_t i = 0; i < plan->node_count; i++) {
        const struct plan_node *node = &plan->nodes[i];
        rank_of[i] = node->rank != PLAN_NONE ? node->rank
                     : is_free(plan, node)   ? by_pattern(plan, index++, count)
                                             : rank_of[leader_of(plan, node)];
    }
    for (size_t i = 0; i < plan->node_count; i++) {
        rank_of[i] = substitute(rank_of[i], plan->ranks, down);
    }
}

/* Nodes by rank, in their order. */
static void sort_nodes(struct cutter *cutter)
{
    const struct plan *plan = cutter->plan;
    uint32_t *first = cutter->first_node, total = 0;
    for (size_t i = 0; i < plan->node_count; i++) {
        first[cutter->cut->rank_of[i] + 1]++;
    }
    for (uint32_t rank = 0; rank <= plan->ranks; rank++) {
        total += first[rank];
        first[rank] = total;
    }
    for (size_t i = plan->node_count; i-- > 0;) {
        uint32_t rank = cutter->cut->rank_of[i];
        cutter->nodes[--first[rank + 1]] = (uint32_t)i;
    }
    for (uint32_t rank = 0; rank < plan->ranks; rank++) { /* each start has moved one down */
        first[rank] = first[rank + 1];
    }
    first[plan->ranks] = (uint32_t)plan->node_count;
}

/* ---- Numbers -------------------------------------------------------------------------------- */

static const struct plan_node *node_at(const struct cutter *cutter, uint32_t index)
{
    return &cutter->plan->nodes[cutter->nodes[index]];
}

static uint32_t count_nodes(const struct cutter *cutter, uint32_t rank)
{
    return cutter->first_node[rank + 1] - cutter->first_node[rank];
}

/* True: it is new here. */
static bool number(struct cutter *cutter, uint32_t rank, uint32_t value)
{
    if (cutter->seen[value] == rank + 1) {
        return false;
    }
    cutter->seen[value] = rank + 1;
    cutter->here[cutter->count] = value;
    cutter->local[value] = cutter->count++;
    return true;
}

static bool note(struct plan_use **uses, size_t *room, size_t *count, struct plan_use use)
{
    if (!plan_grow(uses, room, *count + 1, sizeof use)) {
        return false;
    }
    (*uses)[(*count)++] = use;
    return true;
}

/* A value that a node here reads; `is_first`: where it has to come to is noted. */
static bool number_read(struct cutter *cutter, uint32_t rank, uint32_t value, bool is_first)
{
    struct plan_cut *cut = cutter->cut;
    if (value == PLAN_NONE || !number(cutter, rank, value) || !is_first) {
        return true;
    }
    struct plan_use use = {value, rank, cutter->local[value]};
    return cutter->plan->values[value].node == PLAN_NONE
               ? note(&cut->inputs, &cutter->input_room, &cut->input_count, use)
               : note(&cutter->uses, &cutter->use_room, &cutter->use_count, use);
}

static bool number_rank(struct cutter *cutter, uint32_t rank, bool is_first)
{
    const struct plan *plan = cutter->plan;
    bool is_done = true;
    cutter->count = 0;
    for (uint32_t i = cutter->first_node[rank]; i < cutter->first_node[rank + 1]; i++) {
        const struct plan_node *node = node_at(cutter, i);
        for (uint32_t j = 0; j < node->values; j++) {
            (void)number(cutter, rank, node->first_value + j);
        }
    }
    for (uint32_t i = cutter->first_node[rank]; i < cutter->first_node[rank + 1]; i++) {
        const struct plan_node *node = node_at(cutter, i);
        for (uint32_t j = 0; is_done && j < node->binds; j++) {
            const struct plan_bind *bind = &plan->binds[node->first_bind + j];
            if (plan_is_edge(bind) || plan_is_input(bind)) {
                is_done =
                    number_read(cutter, rank, bind->value, is_first) &&
                    number_read(cutter, rank, plan_is_fed(bind) ? bind->feed : PLAN_NONE, is_first);
            }
        }
    }
    return is_done;
}

static int compare_uses(const void *a, const void *b)
{
    const struct plan_use *left = a, *right = b;
    return left->value != right->value ? (left->value < right->value ? -1 : 1)
                                       : (left->rank > right->rank) - (left->rank < right->rank);
}

static void sort_uses(struct cutter *cutter)
{
    if (cutter->use_count) {
        qsort(cutter->uses, cutter->use_count, sizeof *cutter->uses, compare_uses);
    }
    size_t at = 0;
    for (size_t value = 0; value <= cutter->plan->value_count; value++) {
        while (at < cutter->use_count && cutter->uses[at].value < value) {
            at++;
        }
        cutter->first_use[value] = (uint32_t)at;
    }
}

/* ---- One part ------------------------------------------------------------------------------- */

/* A part while it is written: its arrays apart. */
struct draft {
    struct part_head head;
    struct part_node *nodes;
    struct part_value *values;
    struct plan_bind *binds;
    struct part_dest *dests;
    uint32_t *downs, *ups;
    uint8_t *args;
};

static int compare_ranks(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* Sorts a row of ranks and leaves each once. */
static uint32_t unique(uint32_t *ranks, uint32_t count)
{
    uint32_t kept = 0;
    if (count) {
        qsort(ranks, count, sizeof *ranks, compare_ranks);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || ranks[kept - 1] != ranks[i]) {
            ranks[kept++] = ranks[i];
        }
    }
    return kept;
}

static void measure(const struct cutter *cutter, uint32_t rank, struct part_head *head)
{
    *head = (struct part_head){.nodes = count_nodes(cutter, rank), .values = cutter->count};
    for (uint32_t i = cutter->first_node[rank]; i < cutter->first_node[rank + 1]; i++) {
        const struct plan_node *node = node_at(cutter, i);
        head->binds += node->binds;
        head->args += (uint32_t)MT_ALIGN_UP(node->args, 16u);
        for (uint32_t j = 0; j < node->values; j++) {
            uint32_t value = node->first_value + j;
            head->dests += cutter->first_use[value + 1] - cutter->first_use[value];
        }
    }
}

static bool allocate(struct draft *draft)
{
    const struct part_head *head = &draft->head;
    draft->nodes = base_alloc((head->nodes + 1) * sizeof *draft->nodes);
    draft->values = base_alloc((head->values + 1) * sizeof *draft->values);
    draft->binds = base_alloc((head->binds + 1) * sizeof *draft->binds);
    draft->dests = base_alloc((head->dests + 1) * sizeof *draft->dests);
    draft->downs = base_alloc((head->dests + 1) * sizeof *draft->downs);
    draft->ups = base_alloc((head->values + 1) * sizeof *draft->ups);
    draft->args = base_alloc(head->args + 1);
    return draft->nodes && draft->values && draft->binds && draft->dests && draft->downs &&
           draft->ups && draft->args;
}

static void discard(struct draft *draft)
{
    base_free(draft->nodes);
    base_free(draft->values);
    base_free(draft->binds);
    base_free(draft->dests);
    base_free(draft->downs);
    base_free(draft->ups);
    base_free(draft->args);
}

static void write_node(const struct cutter *cutter, struct draft *draft, uint32_t index,
                       uint32_t at, uint32_t *binds, uint32_t *args)
{
    const struct plan *plan = cutter->plan;
    const struct plan_node *node = node_at(cutter, index);
    struct part_node *out = &draft->nodes[at];
    *out = (struct part_node){.function = cutter->hash(node->function),
                              .number = cutter->nodes[index],
                              .first_bind = *binds,
                              .binds = node->binds,
                              .first_value = cutter->local[node->first_value],
                              .values = node->values,
                              .first_arg = *args};
    if (node->name) {
        memcpy(out->name, node->name, strnlen(node->name, sizeof out->name - 1));
    }
    for (uint32_t i = 0; i < node->binds; i++) {
        struct plan_bind bind = plan->binds[node->first_bind + i];
        if (bind.kind > BIND_NULL) {
            bind.value = cutter->local[bind.value];
            bind.feed = plan_is_fed(&bind) ? cutter->local[bind.feed] : PLAN_NONE;
        }
        draft->binds[(*binds)++] = bind;
    }
    if (node->args) {
        memcpy(draft->args + *args, plan->args + node->first_arg, node->args);
    }
    *args += (uint32_t)MT_ALIGN_UP(node->args, 16u);
}

static void write_values(const struct cutter *cutter, uint32_t rank, struct draft *draft)
{
    const struct plan *plan = cutter->plan;
    uint32_t ups = 0, dests = 0;
    for (uint32_t i = 0; i < cutter->count; i++) {
        uint32_t number = cutter->here[i];
        const struct plan_value *value = &plan->values[number];
        bool is_input = value->node == PLAN_NONE;
        bool is_ours = !is_input && cutter->cut->rank_of[value->node] == rank;
        struct part_value *out = &draft->values[i];
        *out = (struct part_value){.bytes = value->bytes,
                                   .output = is_ours ? value->output : PLAN_NONE,
                                   .first_dest = dests};
        if (!is_ours && !is_input) {
            draft->ups[ups++] = cutter->cut->rank_of[value->node];
        }
        for (uint32_t use = cutter->first_use[number];
             is_ours && use < cutter->first_use[number + 1]; use++) {
            draft->downs[dests] = cutter->uses[use].rank;
            draft->dests[dests++] =
                (struct part_dest){cutter->uses[use].rank, cutter->uses[use].index};
            out->dests++;
        }
    }
    draft->head.ups = unique(draft->ups, ups);
    draft->head.downs = unique(draft->downs, dests);
    for (uint32_t i = 0; i < dests; i++) {
        const uint32_t *at = bsearch(&draft->dests[i].down, draft->downs, draft->head.downs,
                                     sizeof *draft->downs, compare_ranks);
        draft->dests[i].down = (uint32_t)(at - draft->downs);
    }
}

static size_t padded(size_t count, size_t size)
{
    return MT_ALIGN_UP(count * size, (size_t)16);
}

static void append(uint8_t **at, const void *array, size_t count, size_t size)
{
    memcpy(*at, array, count * size);
    *at += padded(count, size);
}

static int pack(const struct draft *draft, uint8_t **ret_bytes, size_t *ret_size)
{
    const struct part_head *head = &draft->head;
    size_t size =
        padded(1, sizeof *head) + padded(head->nodes, sizeof *draft->nodes) +
        padded(head->values, sizeof *draft->values) + padded(head->binds, sizeof *draft->binds) +
        padded(head->dests, sizeof *draft->dests) + padded(head->downs, sizeof *draft->downs) +
        padded(head->ups, sizeof *draft->ups) + padded(head->args, 1);
    uint8_t *at = base_alloc(size);
    if (!at) {
        return MANTA_E_NOMEM;
    }
    *ret_bytes = at;
    *ret_size = size;
    append(&at, head, 1, sizeof *head);
    append(&at, draft->nodes, head->nodes, sizeof *draft->nodes);
    append(&at, draft->values, head->values, sizeof *draft->values);
    append(&at, draft->binds, head->binds, sizeof *draft->binds);
    append(&at, draft->dests, head->dests, sizeof *draft->dests);
    append(&at, draft->downs, head->downs, sizeof *draft->downs);
    append(&at, draft->ups, head->ups, sizeof *draft->ups);
    append(&at, draft->args, head->args, 1);
    return MANTA_OK;
}

static int write_part(struct cutter *cutter, uint32_t rank)
{
    struct draft draft = {0};
    uint32_t binds = 0, args = 0;
    (void)number_rank(cutter, rank, false);
    measure(cutter, rank, &draft.head);
    int code = allocate(&draft) ? MANTA_OK : MANTA_E_NOMEM;
    if (code == MANTA_OK) {
        write_values(cutter, rank, &draft);
        for (uint32_t i = 0; i < draft.head.nodes; i++) {
            write_node(cutter, &draft, cutter->first_node[rank] + i, i, &binds, &args);
        }
        code = pack(&draft, &cutter->cut->parts[rank], &cutter->cut->part_bytes[rank]);
    }
    discard(&draft);
    return code;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static bool prepare(struct cutter *cutter)
{
    const struct plan *plan = cutter->plan;
    struct plan_cut *cut = cutter->cut;
    cut->ranks = plan->ranks;
    cut->rank_of = base_alloc((plan->node_count + 1) * sizeof *cut->rank_of);
    cut->parts = base_alloc(plan->ranks * sizeof *cut->parts);
    cut->part_bytes = base_alloc(plan->ranks * sizeof *cut->part_bytes);
    cutter->first_node = base_alloc((plan->ranks + 2) * sizeof *cutter->first_node);
    cutter->nodes = base_alloc((plan->node_count + 1) * sizeof *cutter->nodes);
    cutter->local = base_alloc((plan->value_count + 1) * sizeof *cutter->local);
    cutter->seen = base_alloc((plan->value_count + 1) * sizeof *cutter->seen);
    cutter->here = base_alloc((plan->value_count + 1) * sizeof *cutter->here);
    cutter->first_use = base_alloc((plan->value_count + 1) * sizeof *cutter->first_use);
    return cut->rank_of && cut->parts && cut->part_bytes && cutter->first_node && cutter->nodes &&
           cutter->local && cutter->seen && cutter->here && cutter->first_use;
}

static int cut_all(struct cutter *cutter, const uint8_t *down)
{
    const struct plan *plan = cutter->plan;
    int code = MANTA_OK;
    place(plan, down, cutter->cut->rank_of);
    sort_nodes(cutter);
    for (uint32_t rank = 0; rank < plan->ranks; rank++) {
        if (!number_rank(cutter, rank, true)) {
            return MANTA_E_NOMEM;
        }
    }
    sort_uses(cutter);
    memset(cutter->seen, 0, plan->value_count * sizeof *cutter->seen);
    for (uint32_t rank = 0; rank < plan->ranks && code == MANTA_OK; rank++) {
        code = count_nodes(cutter, rank) ? write_part(cutter, rank) : MANTA_OK;
    }
    return code;
}

int plan_cut(const struct plan *plan, const uint8_t *down,
             uint32_t (*hash)(const manta_function *function), struct plan_cut *ret_cut)
{
    *ret_cut = (struct plan_cut){0};
    struct cutter cutter = {.plan = plan, .cut = ret_cut, .hash = hash};
    int code = prepare(&cutter) ? cut_all(&cutter, down) : MANTA_E_NOMEM;
    base_free(cutter.first_node);
    base_free(cutter.nodes);
    base_free(cutter.local);
    base_free(cutter.seen);
    base_free(cutter.here);
    base_free(cutter.uses);
    base_free(cutter.first_use);
    if (code != MANTA_OK) {
        plan_cut_fini(ret_cut);
    }
    return code;
}

void plan_cut_fini(struct plan_cut *cut)
{
    for (uint32_t rank = 0; cut->parts && rank < cut->ranks; rank++) {
        base_free(cut->parts[rank]);
    }
    base_free(cut->rank_of);
    base_free(cut->parts);
    base_free(cut->part_bytes);
    base_free(cut->inputs);
    *cut = (struct plan_cut){0};
}
