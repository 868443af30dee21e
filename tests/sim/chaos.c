#include "chaos.h"
#include "check.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sanitizers make a seed some twenty times as dear. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SEEDS = 60 };
#else
enum { SEEDS = 500 };
#endif
enum { CAMPAIGNS_MAX = 16, FAILURES_MAX = 8 };

struct tally {
    const char *name;
    uint64_t seeds, failed, injected[FAULT_KINDS], phases[FAULT_PHASES];
    uint64_t dead, fenced, executed, retried, remade, adopted;
    uint64_t recovery_ns, time_ns;
    double of_bound; /* the longest run, as a part of what it was allowed */
};

static const char *test_name;
static uint64_t store_bytes;
static struct tally tallies[CAMPAIGNS_MAX];
static unsigned tally_count;

static void add(struct tally *tally, const struct world_result *result)
{
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        for (int phase = 0; phase < FAULT_PHASES; phase++) {
            tally->injected[kind] += result->injected[kind][phase];
            tally->phases[phase] += result->injected[kind][phase];
        }
    }
    double of_bound = (double)result->time_ns / (double)result->bound_ns;
    tally->seeds++;
    tally->dead += result->killed;
    tally->fenced += result->fenced;
    tally->executed += result->total.executed;
    tally->retried += result->total.retried;
    tally->remade += result->total.remade;
    tally->adopted += result->total.adopted;
    tally->recovery_ns = MT_MAX(tally->recovery_ns, result->recovery_ns);
    tally->time_ns = MT_MAX(tally->time_ns, result->time_ns);
    tally->of_bound = MT_MAX(tally->of_bound, of_bound);
}

/* Every eighth has kills alone. */
static struct world_options draw_world(const struct chaos *chaos, uint64_t seed)
{
    uint32_t count = 1 + (uint32_t)(seed % FAULTS_MAX);
    bool only_kills = seed / FAULTS_MAX % 8 == 0;
    return (struct world_options){.seed = seed,
                                  .ranks = 3 + (uint32_t)(seed / 3 % 6),
                                  .workers = 1 + (uint32_t)(seed / 7 % 2),
                                  .kills = only_kills ? count : 0,
                                  .faults = only_kills ? 0 : count,
                                  .kill_within_ns = chaos->within_us * US,
                                  .work_ns = chaos->work_us * US,
                                  .store_bytes = store_bytes};
}

static void write_json(const struct tally *tally)
{
    const char *path = getenv("MANTA_REPORT");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) {
        return;
    }
    fprintf(file, "{\"campaign\": \"%s\", \"seeds\": %" PRIu64, tally->name, tally->seeds);
    for (int i = 0; i < FAULT_KINDS; i++) {
        fprintf(file, ", \"%s\": %" PRIu64, fault_kind_names[i], tally->injected[i]);
    }
    for (int i = 0; i < FAULT_PHASES; i++) {
        fprintf(file, ", \"at_%s\": %" PRIu64, fault_phase_names[i], tally->phases[i]);
    }
    fprintf(file,
            ", \"dead\": %" PRIu64 ", \"fenced\": %" PRIu64 ", \"run\": %" PRIu64
            ", \"again\": %" PRIu64 ", \"remade\": %" PRIu64 ", \"adopted\": %" PRIu64
            ", \"longest_recovery_ns\": %" PRIu64 ", \"longest_ns\": %" PRIu64
            ", \"of_bound\": %.3f}\n",
            tally->dead, tally->fenced, tally->executed, tally->retried, tally->remade,
            tally->adopted, tally->recovery_ns, tally->time_ns, tally->of_bound);
    fclose(file);
}

/* What must have come of enough seeds: each kind of fault was injected, and what there was of lost
 * parents' children was taken over, not computed again. */
static void check_tally(const struct chaos *chaos, const struct tally *tally)
{
    if (tally->seeds >= 50) {
        assert_true(tally->dead > tally->seeds / 2);
        assert_true(tally->retried > 0);
    }
    if (tally->seeds < 100) {
        return;
    }
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        if (tally->injected[kind] == 0) {
            fail_msg("%s: no fault of the kind %s in all seeds", tally->name,
                     fault_kind_names[kind]);
        }
    }
    assert_true(!chaos->must_adopt || tally->adopted > 0);
}

static void run_campaign(void **state)
{
    const struct chaos *chaos = *state;
    uint64_t first, count;
    struct tally *tally = &tallies[tally_count];
    world_seeds(SEEDS, &first, &count);
    tally->name = chaos->name;
    tally_count++;
    for (uint64_t seed = first; seed < first + count && tally->failed < FAILURES_MAX; seed++) {
        struct world_options options = draw_world(chaos, seed);
        struct world_result result;
        if (world_run(&options, chaos->driver, &result) == 0 &&
            world_check(test_name, &options, &result) == 0) {
            add(tally, &result);
        } else {
            tally->failed++;
        }
    }
    write_json(tally);
    assert_int_equal(tally->failed, 0);
    check_tally(chaos, tally);
}

static int report(void **state)
{
    printf("%-24s %6s | %5s %5s %5s %5s %5s | %5s %5s %5s %5s | %6s %6s | %9s %7s %7s %7s | %9s "
           "%8s %6s\n",
           "campaign", "seeds", "kill", "node", "stop", "slow", "cut", "start", "work", "recov",
           "finish", "dead", "fenced", "run", "again", "remade", "adopted", "recovery", "longest",
           "bound");
    for (unsigned i = 0; i < tally_count; i++) {
        const struct tally *tally = &tallies[i];
        const uint64_t *kinds = tally->injected, *phases = tally->phases;
        printf(
            "%-24s %6" PRIu64 " | %5" PRIu64 " %5" PRIu64 " %5" PRIu64 " %5" PRIu64 " %5" PRIu64
            " | %5" PRIu64 " %5" PRIu64 " %5" PRIu64 " %5" PRIu64 " | %6" PRIu64 " %6" PRIu64
            " | %9" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " | %6.1f ms %5.0f ms %4.0f %%\n",
            tally->name, tally->seeds, kinds[0], kinds[1], kinds[2], kinds[3], kinds[4], phases[0],
            phases[1], phases[2], phases[3], tally->dead, tally->fenced, tally->executed,
            tally->retried, tally->remade, tally->adopted, (double)tally->recovery_ns / 1e6,
            (double)tally->time_ns / 1e6, 100 * tally->of_bound);
    }
    return 0;
}

int chaos_main(const char *test, uint64_t store, const struct chaos *campaigns, size_t count)
{
    struct CMUnitTest tests[CAMPAIGNS_MAX] = {0};
    if (count > CAMPAIGNS_MAX) {
        return 1;
    }
    test_name = test;
    store_bytes = store;
    for (size_t i = 0; i < count; i++) {
        tests[i] = (struct CMUnitTest){campaigns[i].name, run_campaign, NULL, NULL,
                                       (void *)(uintptr_t)&campaigns[i]};
    }
    cmocka_set_test_filter(getenv("MANTA_CAMPAIGN"));
    return cmocka_run_group_tests(tests, NULL, report);
}

static const manta_driver *all_parts;

MANTA_TASK(chaos_part, val(uint64_t, number))
{
    int code = all_parts[number](0, NULL);
    return code ? manta_fail(code, "part %d", (int)number) : MANTA_OK;
}

int chaos_inside_tasks(const manta_driver *parts, size_t count)
{
    enum { PARTS_MAX = 16 };
    const manta_options many_tries = {.retries = 100};
    manta_ref refs[PARTS_MAX];
    CHECK(count <= PARTS_MAX);
    all_parts = parts;
    for (size_t i = 0; i < count; i++) {
        refs[i] = chaos_part_async(&many_tries, i);
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(chaos_part_get(refs[i]) == MANTA_OK);
    }
    return 0;
}

void world_on_nodes(const char *test, manta_driver driver, uint64_t store, uint64_t seeds)
{
    uint64_t first, count;
    world_seeds(seeds, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 1 + (uint32_t)(seed % 5),
                                        .workers = 1 + (uint32_t)(seed % 2),
                                        .node_ranks = 1 + (uint32_t)(seed % 3),
                                        .store_bytes = store};
        struct world_result result;
        assert_int_equal(world_run(&options, driver, &result), 0);
        assert_int_equal(world_check(test, &options, &result), 0);
    }
}
