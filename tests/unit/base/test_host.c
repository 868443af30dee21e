/* The real host: a token is never lost or doubled, deadlines hold, threads are named, bound and
 * joined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/host.h"
#include "manta/error.h"

#include <errno.h>
#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define MS UINT64_C(1000000)

static const struct base_host *const host = &base_host_real;

static uint64_t now(void)
{
    return base_now_ns(host);
}

static struct base_thread start(void (*function)(void *), void *arg)
{
    struct base_thread thread;
    struct base_thread_options options = {.name = "test"};
    assert_int_equal(host->thread_start(host->self, &thread, &options, function, arg), MANTA_OK);
    return thread;
}

static void a_wake_before_the_wait_is_kept(void **state)
{
    struct base_park park = {0};
    base_park_wake(host, &park);
    assert_true(base_park_wait(host, &park, BASE_FOREVER));
    assert_false(base_park_wait(host, &park, now()));
}

static void several_wakes_count_as_one(void **state)
{
    struct base_park park = {0};
    for (int i = 0; i < 5; i++) {
        base_park_wake(host, &park);
    }
    assert_true(base_park_wait(host, &park, 0));
    assert_false(base_park_wait(host, &park, 0));
}

static void a_deadline_ends_the_wait_and_not_before(void **state)
{
    struct base_park park = {0};
    uint64_t begin = now();
    errno = EDOM;
    assert_false(base_park_wait(host, &park, begin + 20 * MS));
    assert_int_equal(errno, EDOM);
    assert_true(now() >= begin + 20 * MS);
    assert_false(base_park_wait(host, &park, 0));
    base_park_wake(host, &park);
    assert_true(base_park_wait(host, &park, 0));
}

struct pair {
    struct base_park ping, pong;
    int plain; /* handed to and fro; the thread sanitizer checks the order */
    int rounds, missed;
};

static void answer(void *arg)
{
    struct pair *pair = arg;
    for (int i = 0; i < pair->rounds; i++) {
        pair->missed += !base_park_wait(host, &pair->ping, BASE_FOREVER);
        pair->plain++;
        base_park_wake(host, &pair->pong);
    }
}

/* A lost wake-up hangs here. */
static void ping_pong_loses_no_wake_and_orders_memory(void **state)
{
    struct pair pair = {.rounds = 20000};
    struct base_thread thread = start(answer, &pair);
    for (int i = 0; i < pair.rounds; i++) {
        pair.plain++;
        base_park_wake(host, &pair.ping);
        assert_true(base_park_wait(host, &pair.pong, BASE_FOREVER));
        assert_int_equal(pair.plain, 2 * (i + 1));
    }
    host->thread_join(host->self, &thread);
    assert_int_equal(pair.missed, 0);
}

#define WAKERS 3
#define WAKES 20000

struct crowd {
    struct base_park park;
    _Atomic uint32_t posted; /* relaxed add before the wake; the park orders it for the sleeper */
};

static void post_and_wake(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < WAKES; i++) {
        atomic_fetch_add_explicit(&crowd->posted, 1, memory_order_relaxed);
        base_park_wake(host, &crowd->park);
        if (i % 64 == 0) {
            host->yield(host->self);
        }
    }
}

/* The sleeper uses short deadlines half of the time, so that time-outs race with wakes. It must
 * see every post without ever waiting for a wake that does not come: a lost one leaves it asleep
 * with work posted. */
static void many_wakers_never_leave_the_sleeper_behind(void **state)
{
    struct crowd crowd = {.posted = 0};
    struct base_thread threads[WAKERS];
    uint64_t random = 1;
    for (int i = 0; i < WAKERS; i++) {
        threads[i] = start(post_and_wake, &crowd);
    }
    while (atomic_load_explicit(&crowd.posted, memory_order_relaxed) < WAKERS * WAKES) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        if (random >> 63) {
            base_park_wait(host, &crowd.park, now() + (random >> 50));
        } else {
            assert_true(base_park_wait(host, &crowd.park, now() + 20000 * MS));
        }
    }
    for (int i = 0; i < WAKERS; i++) {
        host->thread_join(host->self, &threads[i]);
    }
}

struct seen_thread {
    char name[16];
    int cpu_count, cpu;
    size_t stack_bytes;
};

static void look_around(void *arg)
{
    struct seen_thread *seen = arg;
    cpu_set_t set;
    pthread_attr_t attributes;
    void *low;
    pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    sched_getaffinity(0, sizeof set, &set);
    seen->cpu_count = CPU_COUNT(&set);
    seen->cpu = -1;
    for (int i = 0; i < CPU_SETSIZE && seen->cpu < 0; i++) {
        seen->cpu = CPU_ISSET(i, &set) ? i : -1;
    }
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &low, &seen->stack_bytes);
    pthread_attr_destroy(&attributes);
}

static void a_thread_has_its_name_stack_and_binding(void **state)
{
    hwloc_topology_t topology;
    struct seen_thread seen = {.cpu = -1};
    struct base_thread thread;
    hwloc_topology_init(&topology);
    hwloc_topology_load(topology);
    hwloc_bitmap_t cpuset = hwloc_bitmap_alloc();
    hwloc_get_cpubind(topology, cpuset, HWLOC_CPUBIND_THREAD);
    hwloc_bitmap_only(cpuset, (unsigned)hwloc_bitmap_last(cpuset));
    struct base_thread_options options = {.name = "a name longer than 15",
                                          .topology = topology,
                                          .cpuset = cpuset,
                                          .stack_bytes = 1000001};
    assert_int_equal(host->thread_start(host->self, &thread, &options, look_around, &seen),
                     MANTA_OK);
    host->thread_join(host->self, &thread);
    assert_string_equal(seen.name, "a name longer t");
    assert_int_equal(seen.cpu_count, 1);
    assert_int_equal(seen.cpu, hwloc_bitmap_first(cpuset));
    assert_true(seen.stack_bytes >= 900000 && seen.stack_bytes < 4000000);
    hwloc_bitmap_free(cpuset);
    hwloc_topology_destroy(topology);
}

static void a_refused_binding_still_gives_a_thread(void **state)
{
    hwloc_topology_t topology;
    struct seen_thread seen = {.cpu = -1};
    struct base_thread thread;
    hwloc_topology_init(&topology);
    hwloc_topology_load(topology);
    hwloc_bitmap_t cpuset = hwloc_bitmap_alloc();
    hwloc_bitmap_only(cpuset, 1000);
    struct base_thread_options options = {.topology = topology, .cpuset = cpuset};
    assert_int_equal(host->thread_start(host->self, &thread, &options, look_around, &seen),
                     MANTA_OK);
    host->thread_join(host->self, &thread);
    assert_true(seen.cpu_count >= 1);
    hwloc_bitmap_free(cpuset);
    hwloc_topology_destroy(topology);
}

static void a_failed_start_reports_and_leaks_nothing(void **state)
{
    struct base_thread thread = {.handle = 77};
    struct base_thread_options options = {.stack_bytes = (size_t)1 << 52};
    uint64_t before = base_alloc_live();
    base_alloc_fail_at(1);
    assert_int_equal(host->thread_start(host->self, &thread, NULL, look_around, NULL),
                     MANTA_E_NOMEM);
    base_alloc_fail_at(0);
    assert_int_equal(host->thread_start(host->self, &thread, &options, look_around, NULL),
                     MANTA_E_LIMIT);
    assert_int_equal(thread.handle, 77);
    assert_int_equal(base_alloc_live(), before);
}

static void work_takes_at_least_its_time(void **state)
{
    uint64_t begin = now();
    host->work(host->self, 3 * MS);
    assert_true(now() >= begin + 3 * MS);
}

static void random_words_differ(void **state)
{
    uint64_t a = host->random(host->self), b = host->random(host->self);
    assert_true(a != b);
    assert_true(a != 0 || b != 0);
}

static void deadlines_saturate(void **state)
{
    assert_int_equal(base_deadline_after(10, 5), 15);
    assert_int_equal(base_deadline_after(10, BASE_FOREVER), BASE_FOREVER);
    assert_int_equal(base_deadline_after(10, BASE_FOREVER - 10), BASE_FOREVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wake_before_the_wait_is_kept),
        cmocka_unit_test(several_wakes_count_as_one),
        cmocka_unit_test(a_deadline_ends_the_wait_and_not_before),
        cmocka_unit_test(ping_pong_loses_no_wake_and_orders_memory),
        cmocka_unit_test(many_wakers_never_leave_the_sleeper_behind),
        cmocka_unit_test(a_thread_has_its_name_stack_and_binding),
        cmocka_unit_test(a_refused_binding_still_gives_a_thread),
        cmocka_unit_test(a_failed_start_reports_and_leaks_nothing),
        cmocka_unit_test(work_takes_at_least_its_time),
        cmocka_unit_test(random_words_differ),
        cmocka_unit_test(deadlines_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
