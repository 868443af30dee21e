/* The pool: limit, reuse, several threads, exhausted memory, and an overflow that is caught and
 * named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "fiber/fiber.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES (64u << 10)

static void never(void *arg)
{
    fail();
}

static void the_limit_holds_and_a_release_makes_room(void **state)
{
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, 3);
    struct fiber *fibers[3];
    for (int i = 0; i < 3; i++) {
        fibers[i] = fiber_create(pool, never, NULL);
        assert_non_null(fibers[i]);
        assert_int_equal(fiber_pool_in_use(pool), i + 1);
    }
    assert_null(fiber_create(pool, never, NULL));
    assert_int_equal(fiber_pool_in_use(pool), 3);
    fiber_release(fibers[1]);
    fibers[1] = fiber_create(pool, never, NULL);
    assert_non_null(fibers[1]);
    assert_null(fiber_create(pool, never, NULL));
    for (int i = 0; i < 3; i++) {
        fiber_release(fibers[i]);
    }
    fiber_release(NULL);
    assert_int_equal(fiber_pool_in_use(pool), 0);
    fiber_pool_destroy(pool);
    fiber_pool_destroy(NULL);
}

static void the_last_released_is_the_first_reused(void **state)
{
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, 0);
    struct fiber *fibers[5];
    for (int i = 0; i < 5; i++) {
        fibers[i] = fiber_create(pool, never, NULL);
    }
    for (int i = 0; i < 5; i++) {
        fiber_release(fibers[i]);
    }
    for (int i = 4; i >= 0; i--) {
        assert_ptr_equal(fiber_create(pool, never, NULL), fibers[i]);
    }
    for (int i = 0; i < 5; i++) {
        fiber_release(fibers[i]);
    }
    fiber_pool_destroy(pool);
}

struct use {
    struct fiber *thread, *fiber;
    int done;
};

static void use_the_stack(void *arg)
{
    struct use *use = arg;
    volatile char block[STACK_BYTES / 4];
    for (size_t i = 0; i < sizeof block; i += 512) {
        block[i] = (char)i;
    }
    use->done += block[512] == 0;
    fiber_exit_to(use->fiber, use->thread);
}

/* More than the warm ones, so that stacks cool down and are taken from the cold list as well. */
static void many_stacks_are_used_cooled_and_used_again(void **state)
{
    enum { MANY = 300, ROUNDS = 3 };
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, 0);
    static struct use uses[MANY];
    struct fiber *thread = fiber_adopt_thread();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MANY; i++) {
            uses[i].thread = thread;
            uses[i].fiber = fiber_create(pool, use_the_stack, &uses[i]);
            assert_non_null(uses[i].fiber);
        }
        for (int i = 0; i < MANY; i++) {
            fiber_switch(thread, uses[i].fiber);
        }
        for (int i = 0; i < MANY; i++) {
            fiber_release(uses[i].fiber);
        }
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(uses[i].done, ROUNDS);
    }
    fiber_release_thread(thread);
    fiber_pool_destroy(pool);
}

static void run_once(struct fiber_pool *pool, struct use *use)
{
    use->fiber = fiber_create(pool, use_the_stack, use);
    assert_non_null(use->fiber);
    fiber_switch(use->thread, use->fiber);
    fiber_release(use->fiber);
}

static void a_stack_is_reused_a_hundred_thousand_times(void **state)
{
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, 1);
    struct use use = {.thread = fiber_adopt_thread()};
    for (int i = 0; i < 100000; i++) {
        run_once(pool, &use);
    }
    assert_int_equal(use.done, 100000);
    fiber_release_thread(use.thread);
    fiber_pool_destroy(pool);
}

static _Atomic int refused; /* relaxed counter */

static void *create_and_release(void *arg)
{
    struct use use = {.thread = fiber_adopt_thread()};
    for (int i = 0; i < 3000; i++) {
        struct fiber *extra = fiber_create(arg, never, NULL);
        use.fiber = fiber_create(arg, use_the_stack, &use);
        if (use.fiber) {
            fiber_switch(use.thread, use.fiber);
        } else {
            atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
        }
        fiber_release(use.fiber);
        fiber_release(extra);
    }
    fiber_release_thread(use.thread);
    return (void *)(intptr_t)use.done;
}

static void several_threads_share_a_pool_within_its_limit(void **state)
{
    enum { THREADS = 4 };
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, 5);
    pthread_t threads[THREADS];
    intptr_t done = 0;
    atomic_store(&refused, 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, create_and_release, pool);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        done += (intptr_t)result;
    }
    assert_int_equal(done + atomic_load(&refused), THREADS * 3000);
    assert_true(done > 0);
    assert_int_equal(fiber_pool_in_use(pool), 0);
    fiber_pool_destroy(pool);
}

static void a_pool_without_memory_is_null(void **state)
{
    uint64_t before = base_alloc_live();
    base_alloc_fail_at(1);
    assert_null(fiber_pool_create(STACK_BYTES, 0));
    base_alloc_fail_at(0);
    assert_null(fiber_pool_create(SIZE_MAX, 0));
    assert_int_equal(base_alloc_live(), before);
}

static void a_stack_that_cannot_be_mapped_is_null_and_not_counted(void **state)
{
    struct fiber_pool *pool = fiber_pool_create((size_t)1 << 60, 0);
    assert_non_null(pool);
    assert_null(fiber_create(pool, never, NULL));
    assert_int_equal(fiber_pool_in_use(pool), 0);
    fiber_pool_destroy(pool);
}

static void pools_give_back_all_memory(void **state)
{
    uint64_t before = base_alloc_live();
    for (int i = 0; i < 2000; i++) {
        struct fiber_pool *pool = fiber_pool_create(1u << 20, 0);
        struct fiber *fibers[10];
        for (int k = 0; k < 10; k++) {
            fibers[k] = fiber_create(pool, never, NULL);
            assert_non_null(fibers[k]);
        }
        for (int k = 0; k < 10; k++) {
            fiber_release(fibers[k]);
        }
        fiber_pool_destroy(pool);
    }
    assert_int_equal(base_alloc_live(), before);
}

/* In the child: what the handler of the overflow saw is its exit code. */
enum { HIT_AND_NAMED = 40, HIT_UNNAMED, HIT_WRONG_NAME, NOT_HIT, NO_FAULT };

static void report_fault(int number, siginfo_t *info, void *context)
{
    const char *name;
    if (!fiber_guard_hit(info->si_addr, &name)) {
        _exit(NOT_HIT);
    }
    if (strcmp(name, "deep task") == 0) {
        _exit(HIT_AND_NAMED);
    }
    _exit(strcmp(name, "(no task)") == 0 ? HIT_UNNAMED : HIT_WRONG_NAME);
}

static void catch_faults(void)
{
    static char alternate[64 << 10];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = report_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

MT_NOINLINE static int without_end(volatile int *depth)
{
    volatile int here = ++*depth;
    return here > 0 ? without_end(depth) + here : 0;
}

static void overflow_slowly(void *arg)
{
    volatile int depth = 0;
    without_end(&depth);
    _exit(NO_FAULT);
}

/* The far end of a large array is touched first, pages below the end of the stack. */
static void overflow_at_once(void *arg)
{
    size_t left = fiber_stack_left(fiber_current());
    char *volatile end = (char *)__builtin_frame_address(0) - left;
    end[-(48 << 10)] = 1;
    _exit(NO_FAULT);
}

static void fault_elsewhere(void *arg)
{
    *(volatile int *)arg = 1;
    _exit(NO_FAULT);
}

static int status_of_child(void (*entry)(void *), void *arg, const char *name)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, 0);
        struct fiber *below = fiber_create(pool, never, NULL);
        struct fiber *fiber = fiber_create(pool, entry, arg);
        struct fiber *above = fiber_create(pool, never, NULL);
        fiber_set_name(below, "wrong");
        fiber_set_name(above, "wrong");
        fiber_set_name(fiber, name);
        catch_faults();
        fiber_switch(fiber_adopt_thread(), fiber);
        _exit(NO_FAULT);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void an_overflow_hits_the_guard_and_is_named(void **state)
{
    assert_int_equal(status_of_child(overflow_slowly, NULL, "deep task"), HIT_AND_NAMED);
    assert_int_equal(status_of_child(overflow_slowly, NULL, NULL), HIT_UNNAMED);
}

static void a_large_array_cannot_jump_over_the_guard(void **state)
{
    assert_int_equal(status_of_child(overflow_at_once, NULL, "deep task"), HIT_AND_NAMED);
}

static void any_other_fault_is_no_overflow(void **state)
{
    void *forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(status_of_child(fault_elsewhere, forbidden, "deep task"), NOT_HIT);
    munmap(forbidden, 4096);
}

static void a_thread_without_fibers_has_no_guard(void **state)
{
    const char *name = "untouched";
    int here = 0;
    assert_false(fiber_guard_hit(&here, &name));
    assert_false(fiber_guard_hit(NULL, &name));
    struct fiber *thread = fiber_adopt_thread();
    assert_false(fiber_guard_hit(&here, &name));
    assert_false(fiber_guard_hit(NULL, &name));
    fiber_release_thread(thread);
    assert_string_equal(name, "untouched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_holds_and_a_release_makes_room),
        cmocka_unit_test(the_last_released_is_the_first_reused),
        cmocka_unit_test(many_stacks_are_used_cooled_and_used_again),
        cmocka_unit_test(a_stack_is_reused_a_hundred_thousand_times),
        cmocka_unit_test(several_threads_share_a_pool_within_its_limit),
        cmocka_unit_test(a_pool_without_memory_is_null),
        cmocka_unit_test(a_stack_that_cannot_be_mapped_is_null_and_not_counted),
        cmocka_unit_test(pools_give_back_all_memory),
        cmocka_unit_test(an_overflow_hits_the_guard_and_is_named),
        cmocka_unit_test(a_large_array_cannot_jump_over_the_guard),
        cmocka_unit_test(any_other_fault_is_no_overflow),
        cmocka_unit_test(a_thread_without_fibers_has_no_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
