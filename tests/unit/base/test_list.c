/* The list against an array model, and its loop against removal inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

#include <string.h>

#define NODES 32

struct item {
    int number;
    struct base_list link;
};

struct model {
    int numbers[NODES];
    int count;
};

static uint64_t random_state = 1;

static unsigned next_random(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

static int number_of(struct base_list *node)
{
    return MT_CONTAINER(node, struct item, link)->number;
}

static void model_insert(struct model *model, int at, int number)
{
    memmove(model->numbers + at + 1, model->numbers + at,
            (size_t)(model->count - at) * sizeof model->numbers[0]);
    model->numbers[at] = number;
    model->count++;
}

static int model_remove(struct model *model, int at)
{
    int number = model->numbers[at];
    model->count--;
    memmove(model->numbers + at, model->numbers + at + 1,
            (size_t)(model->count - at) * sizeof model->numbers[0]);
    return number;
}

static void assert_same(struct base_list *list, const struct model *model)
{
    int i = 0;
    BASE_LIST_EACH(list, node)
    {
        assert_true(i < model->count);
        assert_ptr_equal(node->next->prev, node);
        assert_ptr_equal(node->prev->next, node);
        assert_int_equal(number_of(node), model->numbers[i++]);
    }
    assert_int_equal(i, model->count);
    assert_int_equal(base_list_is_empty(list), model->count == 0);
}

static int model_find(const struct model *model, int number)
{
    int at = 0;
    while (at < model->count && model->numbers[at] != number) {
        at++;
    }
    return at;
}

static void step(struct base_list *list, struct item *items, struct model *model)
{
    struct item *item = &items[next_random(NODES)];
    int at = model_find(model, item->number);
    if (at < model->count) {
        base_list_remove(&item->link);
        assert_true(base_list_is_empty(&item->link));
        model_remove(model, at);
    } else if (next_random(2)) {
        base_list_push_back(list, &item->link);
        model_insert(model, model->count, item->number);
    } else {
        base_list_push_front(list, &item->link);
        model_insert(model, 0, item->number);
    }
    if (next_random(8) == 0) {
        struct base_list *node = base_list_pop_front(list);
        assert_int_equal(node == NULL, model->count == 0);
        if (node) {
            assert_int_equal(number_of(node), model_remove(model, 0));
        }
    }
}

static void random_operations_match_an_array(void **state)
{
    struct item items[NODES];
    struct model model = {.count = 0};
    struct base_list list;
    base_list_init(&list);
    for (int i = 0; i < NODES; i++) {
        items[i].number = i;
        base_list_init(&items[i].link);
    }
    for (int i = 0; i < 20000; i++) {
        step(&list, items, &model);
        assert_same(&list, &model);
    }
}

static void splice_moves_all_in_order(void **state)
{
    struct item items[6];
    struct base_list a, b;
    base_list_init(&a);
    base_list_init(&b);
    for (int i = 0; i < 6; i++) {
        items[i].number = i;
        base_list_push_back(i < 2 ? &a : &b, &items[i].link);
    }
    base_list_splice(&a, &b);
    assert_same(&a, &(struct model){.numbers = {0, 1, 2, 3, 4, 5}, .count = 6});
    assert_true(base_list_is_empty(&b));
    base_list_splice(&a, &b);
    assert_same(&a, &(struct model){.numbers = {0, 1, 2, 3, 4, 5}, .count = 6});
    base_list_splice(&b, &a);
    assert_true(base_list_is_empty(&a));
    assert_same(&b, &(struct model){.numbers = {0, 1, 2, 3, 4, 5}, .count = 6});
}

static void each_node_may_be_removed_in_the_loop(void **state)
{
    struct item items[5];
    struct base_list list;
    int seen = 0;
    base_list_init(&list);
    for (int i = 0; i < 5; i++) {
        base_list_push_back(&list, &items[i].link);
    }
    BASE_LIST_EACH(&list, node)
    {
        base_list_remove(node);
        seen++;
    }
    assert_int_equal(seen, 5);
    assert_true(base_list_is_empty(&list));
    assert_null(base_list_pop_front(&list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_an_array),
        cmocka_unit_test(splice_moves_all_in_order),
        cmocka_unit_test(each_node_may_be_removed_in_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
