/* Which launcher, with which options. */
#include "cli/plan.h"

#include "base/alloc.h"

#include <manta/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct launchers both = {"/bin/mpirun", "/bin/srun", "mpirun (Open MPI) 4.1.4"};
static const struct launchers only_mpirun = {"/bin/mpirun", "", "mpirun (Open MPI) 4.1.4"};
static const struct launchers no_launcher;
static const struct allocation machine = {.nodes = 1, .cores = 8, .node_cores = 8, .threads = 1};
static const struct allocation two_nodes = {
    .is_slurm = true, .nodes = 2, .cores = 16, .node_cores = 8, .threads = 2};

struct attempt {
    const struct allocation *allocation;
    const struct launchers *launchers;
    const char *const *environment;
    int code;
    char line[2048], text[1024];
    struct plan plan;
};

static void join(const struct plan *plan, char *line)
{
    *line = 0;
    for (uint32_t i = 0; i < plan->argc; i++) {
        strcat(strcat(line, i ? " " : ""), plan->argv[i]);
    }
}

/* words: the command line after `manta run`. */
static void plan_line(struct attempt *attempt, const char *words)
{
    static const char *const empty[] = {NULL};
    char copy[512], *argv[32] = {(char *)"run"}, *rest = NULL;
    int argc = 1;
    struct options options;
    strcpy(copy, words);
    for (char *one = strtok_r(copy, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = one;
    }
    assert_int_equal(options_read(argc, argv, &options, attempt->text, sizeof attempt->text),
                     MANTA_OK);
    attempt->code = plan_make(&options, attempt->allocation, attempt->launchers,
                              attempt->environment ? attempt->environment : empty, &attempt->plan,
                              attempt->text, sizeof attempt->text);
    if (attempt->code == MANTA_OK) {
        join(&attempt->plan, attempt->line);
        plan_fini(&attempt->plan);
    }
    options_fini(&options);
}

static void check_plan(struct attempt attempt, const char *words, const char *expected)
{
    plan_line(&attempt, words);
    assert_int_equal(attempt.code, MANTA_OK);
    assert_string_equal(attempt.line, expected);
}

static void on_a_machine_it_is_mpirun_with_recovery(void **state)
{
    struct attempt here = {&machine, &both};
    check_plan(here, "p -n 3",
               "/bin/mpirun -n 8 --bind-to none --enable-recovery -x MANTA_RUN p -n 3");
    check_plan(here, "-n 9 --no-recovery p",
               "/bin/mpirun -n 9 --oversubscribe --bind-to none -x MANTA_RUN p");
    check_plan(here, "-n 2 --bind core --launcher-args=--tag-output p",
               "/bin/mpirun -n 2 --map-by slot:PE=4 --bind-to core --enable-recovery -x MANTA_RUN "
               "--tag-output p");
}

static void a_single_rank_needs_no_launcher(void **state)
{
    struct attempt here = {&machine, &only_mpirun};
    check_plan(here, "-n 1 p a", "p a");
    check_plan(here, "--launcher none p", "p");
    check_plan(here, "--launcher mpirun -n 1 p",
               "/bin/mpirun -n 1 --bind-to none --enable-recovery -x MANTA_RUN p");
}

static void without_a_launcher_the_program_is_alone_unless_ranks_were_asked_for(void **state)
{
    struct attempt here = {&machine, &no_launcher};
    check_plan(here, "p", "p");
    plan_line(&here, "-n 2 p");
    assert_int_equal(here.code, MANTA_E_LAUNCH);
    assert_non_null(strstr(here.text, "2 ranks need mpirun"));
}

static void in_an_allocation_it_is_srun_that_lets_nodes_be_lost(void **state)
{
    struct allocation asked = two_nodes;
    struct attempt there = {&two_nodes, &both};
    check_plan(there, "p",
               "/bin/srun --mpi=pmix --export=ALL --input=0 -n 16 -K0 -W0 --no-kill "
               "--cpu-bind=none p");
    check_plan(there, "-n 4 --no-recovery --bind core p",
               "/bin/srun --mpi=pmix --export=ALL --input=0 -n 4 -K1 -c 8 --cpu-bind=cores p");
    check_plan(there, "--hosts a:1,b:2 p",
               "/bin/srun --mpi=pmix --export=ALL --input=0 -n 3 --distribution=arbitrary "
               "--nodelist a,b,b -K0 -W0 --no-kill --cpu-bind=none p");
    check_plan(there, "--launcher mpirun -n 4 p",
               "/bin/mpirun -n 4 --oversubscribe --bind-to none --enable-recovery -x MANTA_RUN p");
    asked.tasks = 6;
    asked.cpus_per_task = 4;
    there.allocation = &asked;
    check_plan(there, "p",
               "/bin/srun --mpi=pmix --export=ALL --input=0 -n 6 -K0 -W0 --no-kill -c 4 "
               "--cpu-bind=none p");
}

static void variables_go_to_other_hosts_by_name(void **state)
{
    const char *const environment[] = {"MANTA_RUN=1.2.3.4:5:6", "LD_LIBRARY_PATH=/lib",
                                       "MANTA_WORKERS=2", "HOME=/", NULL};
    struct attempt there = {&machine, &both, environment};
    check_plan(there, "--hosts far1:2,far2:2 p",
               "/bin/mpirun -n 4 --host far1:2,far2:2 --bind-to none --enable-recovery -x "
               "MANTA_RUN -x LD_LIBRARY_PATH -x MANTA_WORKERS p");
}

static void the_listener_is_reached_from_afar_only_when_it_must_be(void **state)
{
    const struct {
        const char *words;
        const struct allocation *allocation;
        bool is_remote;
    } rows[] = {{"-n 2 p", &machine, false},
                {"--hosts localhost:2 p", &machine, false},
                {"--hosts far:2 p", &machine, true},
                {"-n 2 --launcher-args=--hostfile=x p", &machine, true},
                {"-n 2 p", &two_nodes, true},
                {"--launcher none p", &two_nodes, false},
                {"-n 2 --launcher mpirun p", &two_nodes, true}};
    for (size_t i = 0; i < MT_COUNT(rows); i++) {
        struct attempt attempt = {rows[i].allocation, &both};
        plan_line(&attempt, rows[i].words);
        assert_int_equal(attempt.code, MANTA_OK);
        assert_int_equal(attempt.plan.is_remote, rows[i].is_remote);
    }
}

static void what_cannot_be_is_refused_with_a_way_out(void **state)
{
    struct launchers other = only_mpirun;
    struct attempt here = {&machine, &other};
    strcpy(other.mpirun_says, "HYDRA build details:");
    plan_line(&here, "-n 2 p");
    assert_int_equal(here.code, MANTA_E_LAUNCH);
    assert_non_null(strstr(here.text, "is not Open MPI's, it says 'HYDRA build details:'"));
    plan_line(&here, "--launcher srun p");
    assert_int_equal(here.code, MANTA_E_LAUNCH);
    assert_non_null(strstr(here.text, "--launcher mpirun"));
    plan_line(&here, "--launcher none -n 2 p");
    assert_int_equal(here.code, MANTA_E_INVALID);
    assert_non_null(strstr(here.text, "-n was given more than 1"));
}

static void memory_that_is_out_is_told_and_nothing_is_kept(void **state)
{
    char *argv[] = {(char *)"run", (char *)"-n2", (char *)"p", NULL};
    const char *const environment[] = {NULL};
    struct options options;
    char text[1024];
    struct plan plan;
    int failures = 0, code = MANTA_E_NOMEM;
    assert_int_equal(options_read(3, argv, &options, text, sizeof text), MANTA_OK);
    uint64_t live = base_alloc_live();
    for (uint64_t k = 1; code != MANTA_OK; k++) {
        base_alloc_fail_at(k);
        code = plan_make(&options, &machine, &both, environment, &plan, text, sizeof text);
        failures += code == MANTA_E_NOMEM;
        assert_true(code == MANTA_OK || base_alloc_live() == live);
    }
    base_alloc_fail_at(0);
    assert_true(failures > 5);
    plan_fini(&plan);
    options_fini(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_a_machine_it_is_mpirun_with_recovery),
        cmocka_unit_test(a_single_rank_needs_no_launcher),
        cmocka_unit_test(without_a_launcher_the_program_is_alone_unless_ranks_were_asked_for),
        cmocka_unit_test(in_an_allocation_it_is_srun_that_lets_nodes_be_lost),
        cmocka_unit_test(variables_go_to_other_hosts_by_name),
        cmocka_unit_test(the_listener_is_reached_from_afar_only_when_it_must_be),
        cmocka_unit_test(what_cannot_be_is_refused_with_a_way_out),
        cmocka_unit_test(memory_that_is_out_is_told_and_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
