/* Intrusive doubly linked circular list. Every operation is O(1). An unlinked node points at
 * itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/compiler.h"

#include <stdbool.h>

struct base_list {
    struct base_list *next, *prev;
};

static inline void base_list_init(struct base_list *list)
{
    list->next = list->prev = list;
}

static inline bool base_list_is_empty(const struct base_list *list)
{
    return list->next == list;
}

static inline void base_list_insert(struct base_list *before, struct base_list *node)
{
    node->next = before;
    node->prev = before->prev;
    before->prev->next = node;
    before->prev = node;
}

static inline void base_list_push_back(struct base_list *list, struct base_list *node)
{
    base_list_insert(list, node);
}

static inline void base_list_push_front(struct base_list *list, struct base_list *node)
{
    base_list_insert(list->next, node);
}

static inline void base_list_remove(struct base_list *node)
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    base_list_init(node);
}

/* The first node, unlinked; NULL when empty. */
static inline struct base_list *base_list_pop_front(struct base_list *list)
{
    struct base_list *node = list->next;
    if (node == list) {
        return NULL;
    }
    base_list_remove(node);
    return node;
}

/* Moves everything in `from` to the end of `to`. */
static inline void base_list_splice(struct base_list *to, struct base_list *from)
{
    if (base_list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    base_list_init(from);
}

/* Safe against removal of `node` inside the loop, not of its neighbour. */
#define BASE_LIST_EACH(list, node)                                                                 \
    for (struct base_list *node = (list)->next, *node##_next = node->next; node != (list);         \
         node = node##_next, node##_next = node->next)

#endif
