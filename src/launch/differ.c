/*
 * Both ranks go through their tasks sorted by description, one exchange per step, as in
 * the merge of two sorted lists; the first that only one of them has is the answer. It
 * takes as many exchanges as there are tasks, which only a job that is refused pays.
 * Where a task is defined is not part of what is compared: the same program built in
 * two directories is the same program.
 */
#include "launch/differ.h"

#include "base/alloc.h"
#include "core/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct piece {
    char text[DIFFER_TEXT_MAX];
};

struct list {
    struct piece *pieces; /* sorted; one empty piece at the end */
    unsigned count;
};

static size_t key_length(const char *text)
{
    const char *place = strstr(text, ") at ");
    return place ? (size_t)(place - text) : strlen(text);
}

int differ_compare(const char *a, const char *b)
{
    size_t a_length = key_length(a), b_length = key_length(b);
    if (!*a || !*b) {
        return !*a - !*b;
    }
    int order = memcmp(a, b, MT_MIN(a_length, b_length));
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_pieces(const void *a, const void *b)
{
    return differ_compare(((const struct piece *)a)->text, ((const struct piece *)b)->text);
}

static int collect(struct list *list)
{
    struct piece piece;
    while (registry_describe(list->count, piece.text, sizeof piece.text) > 0) {
        list->count++;
    }
    list->pieces = base_alloc((list->count + 1) * sizeof *list->pieces);
    if (!list->pieces) {
        return MANTA_E_NOMEM;
    }
    for (unsigned i = 0; i < list->count; i++) {
        registry_describe(i, list->pieces[i].text, sizeof list->pieces[i].text);
    }
    qsort(list->pieces, list->count, sizeof *list->pieces, compare_pieces);
    return MANTA_OK;
}

static bool is_same_name(const char *a, const char *b)
{
    size_t length = strcspn(a, "(");
    return *a && *b && length == strcspn(b, "(") && memcmp(a, b, length) == 0;
}

static void write_difference(const char *first, const char *others, uint32_t other, char *text,
                             size_t size)
{
    int order = differ_compare(first, others);
    if (is_same_name(first, others)) {
        snprintf(text, size, "rank 0 has %s, but rank %u has %s: start one program everywhere",
                 first, other, others);
    } else if (order) {
        snprintf(text, size, "rank %u has %s, which rank %u has not: start one program everywhere",
                 order < 0 ? 0 : other, order < 0 ? first : others, order < 0 ? other : 0);
    } else {
        snprintf(text, size,
                 "rank 0 and rank %u registered different tasks: start one program everywhere",
                 other);
    }
}

static int walk(const struct boot *boot, const struct list *list, struct piece *all, uint32_t other,
                uint64_t timeout_ns, char *text, size_t size)
{
    bool is_party = boot->rank == 0 || boot->rank == other;
    unsigned at = is_party ? 0 : list->count;
    for (;;) {
        int code = boot->allgather(&list->pieces[at], sizeof *all, all, timeout_ns);
        if (code != MANTA_OK) {
            snprintf(text, size, "the ranks' tasks differ, and comparing them failed");
            return code;
        }
        if (differ_compare(all[0].text, all[other].text) != 0 || !all[0].text[0]) {
            write_difference(all[0].text, all[other].text, other, text, size);
            return MANTA_E_VERSION;
        }
        at += is_party;
    }
}

int differ_explain(const struct boot *boot, uint32_t other, uint64_t timeout_ns, char *text,
                   size_t text_size)
{
    struct list list = {0};
    struct piece *all = base_alloc(boot->size * sizeof *all);
    int code = all ? collect(&list) : MANTA_E_NOMEM;
    if (code == MANTA_OK) {
        code = walk(boot, &list, all, other, timeout_ns, text, text_size);
    } else {
        snprintf(text, text_size, "no memory to compare the ranks' tasks");
    }
    base_free(list.pieces);
    base_free(all);
    return code;
}
