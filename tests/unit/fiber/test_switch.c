/* Switching: what a fiber keeps over it, and what it may do on its stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/host.h"
#include "fiber/fiber.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <string.h>

#define SWITCHES 100000
#define STACK_BYTES (128u << 10)
#define FRAMES 200

struct rig {
    struct fiber_pool *pool;
    struct fiber *thread, *fiber, *parked;
    uint64_t count;
    double sum;
};

static void set_up(struct rig *rig)
{
    *rig = (struct rig){.pool = fiber_pool_create(STACK_BYTES, 0), .thread = fiber_adopt_thread()};
    assert_non_null(rig->pool);
    assert_non_null(rig->thread);
}

static void tear_down(struct rig *rig)
{
    fiber_release(rig->fiber);
    assert_int_equal(fiber_pool_in_use(rig->pool), 0);
    fiber_pool_destroy(rig->pool);
    fiber_release_thread(rig->thread);
    assert_null(fiber_current());
}

static void run(struct rig *rig, void (*entry)(void *))
{
    rig->fiber = fiber_create(rig->pool, entry, rig);
    assert_non_null(rig->fiber);
    fiber_switch(rig->thread, rig->fiber);
}

static void count_up(void *arg)
{
    struct rig *rig = arg;
    double step = 0.5;
    for (int i = 0; i < SWITCHES; i++) {
        rig->count++;
        rig->sum += step;
        fiber_switch(rig->fiber, rig->thread);
    }
    fiber_exit_to(rig->fiber, rig->thread);
}

static void a_hundred_thousand_switches_keep_locals_on_both_sides(void **state)
{
    struct rig rig;
    set_up(&rig);
    double here = 0;
    run(&rig, count_up);
    for (uint64_t i = 1; i <= SWITCHES; i++) {
        here += 0.5;
        assert_int_equal(rig.count, i);
        fiber_switch(rig.thread, rig.fiber);
    }
    assert_true(rig.sum == here);
    tear_down(&rig);
}

/* Fills every callee-saved register with a value of its own around a switch. */
static uint64_t switch_with_full_registers(struct fiber *from, struct fiber *to, uint64_t seed)
{
    uint64_t v[16];
    for (int i = 0; i < 16; i++) {
        v[i] = seed * 0x9e3779b97f4a7c15u + (uint64_t)i * 0x123456789u;
        __asm__ __volatile__("" : "+r"(v[i]));
    }
    uint64_t a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5];
    __asm__ __volatile__("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    fiber_switch(from, to);
    __asm__ __volatile__("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    return (a ^ v[0]) | (b ^ v[1]) | (c ^ v[2]) | (d ^ v[3]) | (e ^ v[4]) | (f ^ v[5]);
}

static void change_registers(void *arg)
{
    struct rig *rig = arg;
    for (uint64_t i = 0;; i++) {
        rig->count |= switch_with_full_registers(rig->fiber, rig->thread, ~i);
    }
}

static void callee_saved_registers_survive(void **state)
{
    struct rig rig;
    set_up(&rig);
    run(&rig, change_registers);
    for (uint64_t i = 0; i < 1000; i++) {
        rig.count |= switch_with_full_registers(rig.thread, rig.fiber, i);
    }
    assert_int_equal(rig.count, 0);
    tear_down(&rig);
}

static void round_down(void *arg)
{
    struct rig *rig = arg;
    rig->count = fegetround() == FE_TONEAREST;
    fesetround(FE_DOWNWARD);
    fiber_switch(rig->fiber, rig->thread);
    rig->count += fegetround() == FE_DOWNWARD;
    fiber_exit_to(rig->fiber, rig->thread);
}

/* In volatile, so that the compiler cannot divide ahead of time. */
MT_NOINLINE static double third(void)
{
    volatile double one = 1, three = 3;
    return one / three;
}

static void each_side_keeps_its_rounding_mode(void **state)
{
    struct rig rig;
    set_up(&rig);
    double nearest = third();
    fesetround(FE_UPWARD);
    double up = third();
    run(&rig, round_down);
    assert_int_equal(rig.count, 1);
    assert_int_equal(fegetround(), FE_UPWARD);
    assert_true(third() == up);
    fiber_switch(rig.thread, rig.fiber);
    assert_int_equal(rig.count, 2);
    assert_int_equal(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
    assert_true(third() == nearest && nearest != up);
    tear_down(&rig);
}

#if defined(__x86_64__)
static uint16_t x87_word(void)
{
    uint16_t word;
    __asm__ __volatile__("fnstcw %0" : "=m"(word));
    return word;
}

static void set_x87_word(uint16_t word)
{
    __asm__ __volatile__("fldcw %0" ::"m"(word));
}

static void lower_precision(void *arg)
{
    struct rig *rig = arg;
    rig->count = x87_word();
    set_x87_word(0x027f);
    fiber_switch(rig->fiber, rig->thread);
    rig->count = x87_word();
    fiber_exit_to(rig->fiber, rig->thread);
}

static void each_side_keeps_its_x87_precision_and_flush_mode(void **state)
{
    struct rig rig;
    uint32_t mxcsr = __builtin_ia32_stmxcsr();
    set_up(&rig);
    __builtin_ia32_ldmxcsr(mxcsr | 0x8040);
    run(&rig, lower_precision);
    assert_int_equal(rig.count, 0x037f);
    assert_int_equal(x87_word(), 0x037f);
    fiber_switch(rig.thread, rig.fiber);
    assert_int_equal(rig.count, 0x027f);
    assert_int_equal(x87_word(), 0x037f);
    assert_int_equal(__builtin_ia32_stmxcsr() & 0x8040, 0x8040);
    __builtin_ia32_ldmxcsr(mxcsr);
    tear_down(&rig);
}
#endif

static void set_errno(void *arg)
{
    struct rig *rig = arg;
    errno = ERANGE;
    fiber_switch(rig->fiber, rig->thread);
    rig->count = errno == ERANGE;
    fiber_exit_to(rig->fiber, rig->thread);
}

static void each_side_keeps_its_errno(void **state)
{
    struct rig rig;
    set_up(&rig);
    rig.fiber = fiber_create(rig.pool, set_errno, &rig);
    errno = EDOM;
    fiber_switch(rig.thread, rig.fiber);
    assert_int_equal(errno, EDOM);
    fiber_switch(rig.thread, rig.fiber);
    assert_int_equal(errno, EDOM);
    assert_int_equal(rig.count, 1);
    tear_down(&rig);
}

MT_NOINLINE static uint64_t descend(struct rig *rig, int depth)
{
    volatile uint64_t here[4] = {(uint64_t)depth, 1, 2, 3};
    if (depth == 0) {
        fiber_switch(rig->fiber, rig->thread);
        return 0;
    }
    return descend(rig, depth - 1) + here[0];
}

static void go_deep(void *arg)
{
    struct rig *rig = arg;
    rig->count = descend(rig, FRAMES);
    fiber_exit_to(rig->fiber, rig->thread);
}

static void a_fiber_parks_deep_in_its_stack_and_goes_on(void **state)
{
    struct rig rig;
    set_up(&rig);
    run(&rig, go_deep);
    assert_int_equal(rig.count, 0);
    fiber_switch(rig.thread, rig.fiber);
    assert_int_equal(rig.count, FRAMES * (FRAMES + 1) / 2);
    tear_down(&rig);
}

static void nest(void *arg)
{
    struct rig *rig = arg, inner = *rig;
    struct fiber *self = fiber_current();
    assert_ptr_equal(self, rig->fiber);
    if (rig->count > 0) {
        inner.count--;
        inner.thread = self;
        inner.fiber = fiber_create(rig->pool, nest, &inner);
        fiber_switch(self, inner.fiber);
        assert_ptr_equal(fiber_current(), self);
        fiber_release(inner.fiber);
    }
    rig->sum = inner.sum + 1;
    fiber_exit_to(self, rig->thread);
}

static void fibers_start_fibers_two_hundred_deep(void **state)
{
    struct rig rig;
    set_up(&rig);
    rig.count = 199;
    run(&rig, nest);
    assert_true(rig.sum == 200);
    assert_ptr_equal(fiber_current(), rig.thread);
    assert_int_equal(fiber_pool_in_use(rig.pool), 1);
    tear_down(&rig);
}

#define RING 50

struct ring {
    struct fiber *fibers[RING], *thread;
    int turns[RING];
};

struct seat {
    struct ring *ring;
    int number;
};

static void pass_on(void *arg)
{
    struct seat *seat = arg;
    struct ring *ring = seat->ring;
    int next = (seat->number + 1) % RING;
    for (;;) {
        ring->turns[seat->number]++;
        if (seat->number == RING - 1 && ring->turns[seat->number] == 100) {
            fiber_switch(ring->fibers[seat->number], ring->thread);
        }
        fiber_switch(ring->fibers[seat->number], ring->fibers[next]);
    }
}

static void fibers_switch_to_each_other_without_the_thread(void **state)
{
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, RING);
    struct ring ring = {.thread = fiber_adopt_thread()};
    struct seat seats[RING];
    for (int i = 0; i < RING; i++) {
        seats[i] = (struct seat){&ring, i};
        ring.fibers[i] = fiber_create(pool, pass_on, &seats[i]);
    }
    fiber_switch(ring.thread, ring.fibers[0]);
    for (int i = 0; i < RING; i++) {
        assert_int_equal(ring.turns[i], 100);
        fiber_release(ring.fibers[i]);
    }
    fiber_pool_destroy(pool);
    fiber_release_thread(ring.thread);
}

static void measure(void *arg)
{
    struct rig *rig = arg;
    char *frame = __builtin_frame_address(0);
    size_t left = fiber_stack_left(rig->fiber);
    assert_true(left > STACK_BYTES - 4096 && left < STACK_BYTES);
    rig->count = (uintptr_t)frame % 16 == 0;
    fiber_exit_to(rig->fiber, rig->thread);
}

static void the_stack_left_is_known_on_a_pooled_stack(void **state)
{
    struct rig rig;
    set_up(&rig);
    run(&rig, measure);
    assert_int_equal(rig.count, 1);
    tear_down(&rig);
}

static size_t left_below(struct fiber *fiber, int depth)
{
    char block[1024];
    __asm__ __volatile__("" ::"r"(block) : "memory");
    size_t left = depth ? left_below(fiber, depth - 1) : fiber_stack_left(fiber);
    __asm__ __volatile__("" ::"r"(block) : "memory");
    return left;
}

static void the_stack_left_is_known_on_a_threads_own_stack(void **state)
{
    struct fiber *thread = fiber_adopt_thread();
    size_t left = fiber_stack_left(thread);
    assert_true(left > 4096);
    assert_true(left - left_below(thread, 16) >= 16 * 1024);
    fiber_release_thread(thread);
}

static void measure_thread(void *arg)
{
    struct fiber *thread = fiber_adopt_thread();
    *(size_t *)arg = fiber_stack_left(thread);
    fiber_release_thread(thread);
}

/* Thread-local storage takes its part, most with the thread sanitizer; the default would be 8
 * MiB. */
static void the_stack_left_is_known_on_a_started_threads_stack(void **state)
{
    const struct base_host *host = &base_host_real;
    struct base_thread thread;
    struct base_thread_options options = {.name = "t", .stack_bytes = 1u << 20};
    size_t left = 0;
    assert_int_equal(host->thread_start(host->self, &thread, &options, measure_thread, &left), 0);
    host->thread_join(host->self, &thread);
    assert_in_range(left, 64u << 10, 4u << 20);
}

/* A rank of the simulator adopts the virtual thread that it runs on. */
static void adopt_again(void *arg)
{
    struct rig *rig = arg;
    struct fiber *outer = fiber_current();
    struct fiber *alias = fiber_adopt_thread();
    assert_ptr_equal(fiber_current(), alias);
    assert_true(fiber_stack_left(alias) > 4096);
    struct rig inner = {.pool = rig->pool, .thread = alias};
    inner.fiber = fiber_create(rig->pool, count_up, &inner);
    for (int i = 0; i < 10; i++) {
        fiber_switch(alias, inner.fiber);
    }
    rig->parked = alias;
    fiber_switch(alias, rig->thread);
    rig->count = inner.count;
    fiber_release(inner.fiber);
    fiber_release_thread(alias);
    assert_ptr_equal(fiber_current(), outer);
    fiber_exit_to(outer, rig->thread);
}

static void a_fiber_adopted_again_is_another_name_for_its_stack(void **state)
{
    struct rig rig;
    set_up(&rig);
    rig.fiber = fiber_create(rig.pool, adopt_again, &rig);
    fiber_switch(rig.thread, rig.fiber);
    assert_ptr_not_equal(rig.parked, rig.fiber);
    fiber_switch(rig.thread, rig.parked);
    assert_int_equal(rig.count, 10);
    tear_down(&rig);
}

static void *switch_on_own_thread(void *arg)
{
    intptr_t good = 0;
    for (int i = 0; i < 20; i++) {
        struct rig rig = {.pool = fiber_pool_create(STACK_BYTES, 0),
                          .thread = fiber_adopt_thread()};
        rig.fiber = fiber_create(rig.pool, go_deep, &rig);
        fiber_switch(rig.thread, rig.fiber);
        fiber_switch(rig.thread, rig.fiber);
        good += rig.count == FRAMES * (FRAMES + 1) / 2;
        fiber_release(rig.fiber);
        fiber_pool_destroy(rig.pool);
        fiber_release_thread(rig.thread);
    }
    return (void *)good;
}

static void several_threads_switch_independently(void **state)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, switch_on_own_thread, NULL);
    }
    for (int i = 0; i < 3; i++) {
        void *good;
        pthread_join(threads[i], &good);
        assert_int_equal((intptr_t)good, 20);
    }
}

static void adoption_without_memory_is_null(void **state)
{
    uint64_t before = base_alloc_live();
    base_alloc_fail_at(1);
    assert_null(fiber_adopt_thread());
    base_alloc_fail_at(0);
    assert_null(fiber_current());
    assert_int_equal(base_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_thousand_switches_keep_locals_on_both_sides),
        cmocka_unit_test(callee_saved_registers_survive),
        cmocka_unit_test(each_side_keeps_its_rounding_mode),
#if defined(__x86_64__)
        cmocka_unit_test(each_side_keeps_its_x87_precision_and_flush_mode),
#endif
        cmocka_unit_test(each_side_keeps_its_errno),
        cmocka_unit_test(a_fiber_parks_deep_in_its_stack_and_goes_on),
        cmocka_unit_test(fibers_start_fibers_two_hundred_deep),
        cmocka_unit_test(fibers_switch_to_each_other_without_the_thread),
        cmocka_unit_test(the_stack_left_is_known_on_a_pooled_stack),
        cmocka_unit_test(the_stack_left_is_known_on_a_threads_own_stack),
        cmocka_unit_test(the_stack_left_is_known_on_a_started_threads_stack),
        cmocka_unit_test(a_fiber_adopted_again_is_another_name_for_its_stack),
        cmocka_unit_test(several_threads_switch_independently),
        cmocka_unit_test(adoption_without_memory_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
