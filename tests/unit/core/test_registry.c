/*
 * Behaviour 8: a redefined task never runs a stale body, because two of one name are refused;
 * and 90 for descriptors. The registry is one per process and forgets nothing, so each
 * bad descriptor gets a process of its own.
 */
#include "comm/backends.h"
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int body_run(const manta_slot *slots)
{
    return MANTA_OK;
}

MANTA_TASK(measure, val(int32_t, x), out(int32_t, y))
{
    *y = x;
    return MANTA_OK;
}

static const manta_param params[] = {{MANTA_KIND_VAL, 4, 4, 0, "int32_t", "x"},
                                     {MANTA_KIND_OUT, 4, 4, 0, "int32_t", "y"}};

static int start(struct rank **ret_rank, struct comm **ret_comm, manta_error *ret_error)
{
    assert_int_equal(comm_create_alone(&base_host_real, ret_comm), MANTA_OK);
    struct core_options options = {.host = &base_host_real,
                                   .comm = *ret_comm,
                                   .workers = 1,
                                   .cores = 1,
                                   .node_ranks = 1,
                                   .host_name = "here"};
    return core_rank_create(&options, ret_rank, ret_error);
}

static void stop(struct rank *rank, struct comm *comm)
{
    (void)core_finish(rank, 0);
    core_rank_destroy(rank);
    comm_destroy(comm);
}

/* In a child: 0 when the rank does not start and the reason names all of `naming`
 * (NULL-terminated). */
static int check_refusal(manta_function *function, const char *const *naming)
{
    struct rank *rank = NULL;
    struct comm *comm;
    manta_error error;
    manta_function_register(function);
    int code = start(&rank, &comm, &error);
    if (code == MANTA_OK) {
        stop(rank, comm);
        return 2;
    }
    comm_destroy(comm);
    for (; *naming; naming++) {
        if (!strstr(error.text, *naming)) {
            fprintf(stderr, "\"%s\" does not name %s\n", error.text, *naming);
            return 3;
        }
    }
    return code == MANTA_E_INVALID ? 0 : 4;
}

static void refused(manta_function *function, const char *const *naming)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        _exit(check_refusal(function, naming));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static manta_function again = {.name = "measure",
                               .file = "other.c",
                               .line = 77,
                               .param_count = 2,
                               .params = params,
                               .run = body_run};

static void behaviour_08_a_task_defined_twice_is_refused_at_the_start(void **state)
{
    refused(&again, (const char *const[]){"measure", "test_registry.c", "other.c:77", NULL});
}

static void behaviour_08_a_task_defined_again_during_a_run_is_refused(void **state)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct rank *rank;
        struct comm *comm;
        manta_error error;
        int32_t x = 5, y = 0;
        manta_slot slots[] = {{&x, 1}, {NULL, 0}};
        manta_ref ref;
        bool is_right = start(&rank, &comm, &error) == MANTA_OK && core_attach(rank) == MANTA_OK;
        manta_function_register(&again);
        manta_submit(&again, NULL, slots, &ref);
        is_right &=
            ref.parent == 0 && strstr(manta_last_error()->text, "measure is not registered");
        is_right &= measure_get(measure_async(NULL, 5), &y) == MANTA_OK && y == 5;
        core_detach(rank);
        stop(rank, comm);
        _exit(is_right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void behaviour_90_malformed_descriptors_are_refused(void **state)
{
    const char *const naming[] = {"bad", "malformed", NULL};
    const manta_param no_size = {MANTA_KIND_VAL, 0, 4, 0, "int32_t", "x"},
                      huge = {MANTA_KIND_VAL, UINT32_MAX, 4, 0, "big", "x"};
    const manta_param kind = {99, 4, 4, 0, "int32_t", "x"},
                      align = {MANTA_KIND_VAL, 4, 3, 0, "int32_t", "x"};
    const manta_param nameless = {MANTA_KIND_VAL, 4, 4, 0, "int32_t", NULL};
    const manta_param *const bad[] = {&no_size, &huge, &kind, &align, &nameless, NULL};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        manta_function function = {
            .name = "bad", .file = "bad.c", .param_count = 1, .params = bad[i], .run = body_run};
        refused(&function, naming);
    }
    manta_function many = {.name = "bad",
                           .file = "bad.c",
                           .param_count = UINT32_MAX,
                           .params = params,
                           .run = body_run};
    manta_function bodyless = {.name = "bad", .file = "bad.c"};
    manta_function unnamed = {.file = "bad.c", .run = body_run};
    refused(&many, naming);
    refused(&bodyless, naming);
    refused(&unnamed, naming + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaviour_08_a_task_defined_twice_is_refused_at_the_start),
        cmocka_unit_test(behaviour_08_a_task_defined_again_during_a_run_is_refused),
        cmocka_unit_test(behaviour_90_malformed_descriptors_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
