/* Recorded machines, their grants and shares, against golden texts (tests/golden/topo_*.txt). The
 * XML files are synthetic machines as `lstopo --input "pack:2 [numa(memory=...)] l3:1 core:8
 * pu:2" --of xml` writes them: a node, a laptop, a node of which a job was given PUs 5-10, and a
 * virtual machine without cores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "manta/error.h"
#include "topo/topo.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define NOWHERE "/nonexistent"

static const char node[] = GOLDEN_DIR "/topo_node.xml";
static const char job[] = GOLDEN_DIR "/topo_job.xml";

static struct topo *open_machine(const char *xml_path, const char *mask)
{
    struct topo_source source = {xml_path, mask, NOWHERE, NOWHERE};
    struct topo *topo = NULL;
    assert_int_equal(topo_create(&source, &topo), MANTA_OK);
    return topo;
}

static void read_golden(const char *name, char *text, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/topo_%s.txt", GOLDEN_DIR, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

struct recorded {
    const char *golden, *machine, *mask;
    unsigned index, sharers;
};

static const struct recorded cases[] = {
    {"node_alone", "node", NULL, 0, 1},
    {"node_2_of_3", "node", NULL, 2, 3},
    {"node_masked", "node", "1-6,20,30-31", 0, 1},
    {"node_masked_1_of_2", "node", "1-6,20,30-31", 1, 2},
    {"node_crowded", "node", NULL, 5, 64},
    {"laptop_alone", "laptop", NULL, 0, 1},
    {"job_alone", "job", NULL, 0, 1},
    {"job_masked", "job", "0-6", 1, 2},
    {"vm_alone", "vm", NULL, 0, 1},
};

static void assert_golden(const struct recorded *recorded)
{
    char path[512], expected[4096], text[4096];
    unsigned cores;
    bool shared;
    snprintf(path, sizeof path, "%s/topo_%s.xml", GOLDEN_DIR, recorded->machine);
    struct topo *topo = open_machine(path, recorded->mask);
    topo_share(topo, recorded->index, recorded->sharers, &cores, &shared);
    int length = topo_describe(topo, text, sizeof text);
    assert_int_equal(length, strlen(text));
    read_golden(recorded->golden, expected, sizeof expected);
    assert_string_equal(text, expected);
    topo_destroy(topo);
}

static void behaviour_85_recorded_machines_look_as_their_goldens(void **state)
{
    for (size_t i = 0; i < MT_COUNT(cases); i++) {
        assert_golden(&cases[i]);
    }
}

static void a_short_text_is_cut_at_every_size(void **state)
{
    struct topo *topo = open_machine(node, NULL);
    char whole[2048];
    int needed = topo_describe(topo, whole, sizeof whole);
    for (size_t size = 0; size < (size_t)needed + 2; size++) {
        char text[2048];
        memset(text, '#', sizeof text);
        assert_int_equal(topo_describe(topo, text, size), needed);
        assert_int_equal(text[size], '#');
        if (size) {
            assert_int_equal(strncmp(text, whole, size - 1), 0);
            assert_int_equal(text[MT_MIN(size - 1, (size_t)needed)], '\0');
        }
    }
    topo_destroy(topo);
}

static void counts_and_mask_agree(void **state)
{
    struct topo *topo = open_machine(node, "1-6,20,30-31");
    assert_int_equal(topo_core_count(topo), 6);
    assert_int_equal(topo_pu_count(topo), 9);
    assert_string_equal(topo_mask_string(topo), "1-6,20,30-31");
    assert_int_equal(topo_memory_limit_bytes(topo), UINT64_C(2) << 35);
    topo_destroy(topo);
}

static hwloc_const_bitmap_t worker_set(struct topo *topo, unsigned worker)
{
    return topo_worker_cpuset(topo, worker);
}

/* For every number of sharers up to the number of cores: the shares are disjoint, non-empty, and
 * all of the grant. */
static void shares_partition_the_grant(void **state)
{
    struct topo *topo = open_machine(node, "1-6,20,30-31");
    hwloc_bitmap_t all = hwloc_bitmap_alloc();
    for (unsigned sharers = 1; sharers <= topo_core_count(topo); sharers++) {
        hwloc_bitmap_zero(all);
        for (unsigned index = 0; index < sharers; index++) {
            unsigned cores;
            bool shared;
            topo_share(topo, index, sharers, &cores, &shared);
            assert_false(shared);
            assert_true(cores >= topo_core_count(topo) / sharers);
            for (unsigned worker = 0; worker < cores; worker++) {
                assert_false(hwloc_bitmap_iszero(worker_set(topo, worker)));
                assert_false(hwloc_bitmap_intersects(all, worker_set(topo, worker)));
                hwloc_bitmap_or(all, all, worker_set(topo, worker));
            }
            assert_true(hwloc_bitmap_isequal(worker_set(topo, cores), worker_set(topo, 0)));
        }
        char text[64];
        hwloc_bitmap_list_snprintf(text, sizeof text, all);
        assert_string_equal(text, topo_mask_string(topo));
    }
    hwloc_bitmap_free(all);
    topo_destroy(topo);
}

static void more_ranks_than_cores_count_one_core_each_and_may_run_on_all(void **state)
{
    struct topo *topo = open_machine(job, NULL);
    for (unsigned index = 0; index < 7; index++) {
        unsigned cores = 0;
        bool shared = false;
        char text[64];
        topo_share(topo, index, 7, &cores, &shared);
        assert_int_equal(cores, 1);
        assert_true(shared);
        hwloc_bitmap_list_snprintf(text, sizeof text, worker_set(topo, 0));
        assert_string_equal(text, "5-10");
    }
    topo_destroy(topo);
}

static void assert_refused(const char *xml_path, const char *mask)
{
    struct topo_source source = {xml_path, mask, NOWHERE, NOWHERE};
    struct topo *topo = (struct topo *)&source;
    assert_int_equal(topo_create(&source, &topo), MANTA_E_INVALID);
    assert_ptr_equal(topo, &source);
}

static void bad_sources_are_refused(void **state)
{
    uint64_t before = base_alloc_live();
    assert_refused(NOWHERE, NULL);
    assert_refused(GOLDEN_DIR "/topo_node_alone.txt", NULL);
    assert_refused(node, "");
    assert_refused(node, "0x3");
    assert_refused(node, "three");
    assert_refused(node, "1000");
    assert_refused(job, "0-4");
    assert_int_equal(base_alloc_live(), before);
}

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    struct topo_source source = {node, NULL, NOWHERE, NOWHERE};
    struct topo *topo = NULL;
    uint64_t before = base_alloc_live(), count;
    base_alloc_fail_at(0);
    assert_int_equal(topo_create(&source, &topo), MANTA_OK);
    count = base_alloc_asked();
    topo_destroy(topo);
    assert_true(count >= 3);
    for (uint64_t k = 1; k <= count; k++) {
        base_alloc_fail_at(k);
        assert_int_equal(topo_create(&source, &topo), MANTA_E_NOMEM);
    }
    base_alloc_fail_at(0);
    assert_int_equal(base_alloc_live(), before);
    topo_destroy(NULL);
}

static void *create_here(void *arg)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(*(int *)arg, &one);
    sched_setaffinity(0, sizeof one, &one);
    struct topo *topo = NULL;
    return topo_create(NULL, &topo) == MANTA_OK ? topo : NULL;
}

/* Also from a thread that is bound to less: the grant is the process's. */
static void behaviour_85_this_machine_is_cut_to_the_affinity(void **state)
{
    cpu_set_t set;
    void *found;
    pthread_t thread;
    int first = 0;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    while (!CPU_ISSET(first, &set)) {
        first++;
    }
    pthread_create(&thread, NULL, create_here, &first);
    pthread_join(thread, &found);
    struct topo *topo = found;
    assert_non_null(topo);
    assert_int_equal(topo_pu_count(topo), CPU_COUNT(&set));
    assert_true(topo_core_count(topo) >= 1 && topo_core_count(topo) <= topo_pu_count(topo));
    assert_true(topo_memory_limit_bytes(topo) > 1 << 20);
    assert_true(topo_memory_limit_bytes(topo) < UINT64_C(1) << 50);
    assert_non_null(topo_handle(topo));
    topo_destroy(topo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaviour_85_recorded_machines_look_as_their_goldens),
        cmocka_unit_test(a_short_text_is_cut_at_every_size),
        cmocka_unit_test(counts_and_mask_agree),
        cmocka_unit_test(shares_partition_the_grant),
        cmocka_unit_test(more_ranks_than_cores_count_one_core_each_and_may_run_on_all),
        cmocka_unit_test(bad_sources_are_refused),
        cmocka_unit_test(every_failed_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(behaviour_85_this_machine_is_cut_to_the_affinity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
