/*
 * The real host: the monotonic clock, futexes, POSIX threads, the kernel's randomness.
 *
 * A park is one word: 0 empty, 1 a token, 2 empty with a sleeper. Waker and sleeper
 * change it by read-modify-write only, so every waker's release is in the release
 * sequence that the sleeper's acquire reads from: whatever any waker wrote before its
 * wake is seen after the wait, even when several wakes leave one token. The sleeper
 * turns 0 into 2 before it asks the kernel, and the kernel sleeps only while the word
 * is 2; a wake between the two turns it into 1 and the kernel refuses. So no wake is
 * lost, and a wake costs a system call only if somebody sleeps. A wake may touch the
 * futex after the sleeper has gone on and freed the park: on memory that is no futex
 * any more that is at worst a spurious wake, which the sleeper's loop absorbs.
 *
 * park does not poll first: its callers do, at what they wait for, spin_ns long.
 *
 * A thread starts with its binding in its attributes, before its first page is
 * touched. A binding that the system refuses is dropped: placement is speed, not
 * correctness.
 */
#include "base/alloc.h"
#include "base/host.h"
#include "manta/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <errno.h>
#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)
/* As below pooled stacks: a page is jumped over by a function with a large frame. */
#define GUARD_BYTES ((size_t)64 << 10)

enum token { TOKEN_NONE, TOKEN_LEFT, TOKEN_SLEEPER };

struct start {
    void (*main)(void *);
    void *arg;
    char name[16];
};

static uint64_t real_now_ns(void *self)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The time stamp counter where it runs at one speed and does not stop; 12 ns instead of 25. */
static uint64_t real_ticks(void *self)
{
#if defined(__x86_64__)
    static atomic_int is_steady; /* 0: not known yet; 1; -1: no */
    int steady = atomic_load_explicit(&is_steady, memory_order_relaxed);
    if (MT_UNLIKELY(steady == 0)) {
        unsigned a, b, c, d = 0;
        steady = __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8 ? 1 : -1;
        atomic_store_explicit(&is_steady, steady, memory_order_relaxed);
    }
    if (steady > 0) {
        return __builtin_ia32_rdtsc();
    }
#endif
    return real_now_ns(self);
}

static bool futex_sleep(_Atomic uint32_t *word, uint64_t deadline_ns)
{
    struct timespec deadline = {(time_t)(deadline_ns / NS_PER_S), (long)(deadline_ns % NS_PER_S)};
    long result =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, TOKEN_SLEEPER,
                deadline_ns == BASE_FOREVER ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    return result == 0 || errno != ETIMEDOUT;
}

static bool take_token(struct base_park *park)
{
    return atomic_exchange_explicit(&park->token, TOKEN_NONE, memory_order_acquire) == TOKEN_LEFT;
}

static bool real_park(void *self, struct base_park *park, uint64_t deadline_ns)
{
    uint32_t empty = TOKEN_NONE;
    if (!atomic_compare_exchange_strong_explicit(&park->token, &empty, TOKEN_SLEEPER,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        return take_token(park);
    }
    int saved_errno = errno;
    bool in_time = true;
    while (in_time && atomic_load_explicit(&park->token, memory_order_relaxed) == TOKEN_SLEEPER) {
        in_time = futex_sleep(&park->token, deadline_ns);
    }
    errno = saved_errno;
    return take_token(park);
}

static void real_wake(void *self, struct base_park *park)
{
    uint32_t before = atomic_exchange_explicit(&park->token, TOKEN_LEFT, memory_order_release);
    if (before == TOKEN_SLEEPER) {
        int saved_errno = errno;
        syscall(SYS_futex, &park->token, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        errno = saved_errno;
    }
}

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    base_free(arg);
    if (start.name[0]) {
        pthread_setname_np(pthread_self(), start.name);
    }
    start.main(start.arg);
    return NULL;
}

/* False: not bound, because nothing was asked, it is not this machine, or memory is out. */
static bool set_affinity(pthread_attr_t *attributes, const struct base_thread_options *options)
{
    hwloc_topology_t topology = options->topology;
    if (!options->cpuset || !topology || !hwloc_topology_is_thissystem(topology)) {
        return false;
    }
    int last = hwloc_bitmap_last(hwloc_topology_get_complete_cpuset(topology));
    size_t bytes = CPU_ALLOC_SIZE(MT_MAX(last + 1, CPU_SETSIZE));
    cpu_set_t *set = base_alloc(bytes);
    bool done = set &&
                hwloc_cpuset_to_glibc_sched_affinity(topology, options->cpuset, set, bytes) == 0 &&
                pthread_attr_setaffinity_np(attributes, bytes, set) == 0;
    base_free(set);
    return done;
}

static void set_stack(pthread_attr_t *attributes, size_t stack_bytes)
{
    if (stack_bytes) {
        size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
        size_t least_bytes = (size_t)sysconf(_SC_THREAD_STACK_MIN);
        pthread_attr_setstacksize(attributes,
                                  MT_ALIGN_UP(MT_MAX(stack_bytes, least_bytes), page_bytes));
    }
}

static int create(pthread_t *ret_thread, const struct base_thread_options *options,
                  struct start *start, bool bind)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return ENOMEM;
    }
    set_stack(&attributes, options->stack_bytes);
    pthread_attr_setguardsize(&attributes, GUARD_BYTES);
    bool bound = bind && set_affinity(&attributes, options);
    int result = pthread_create(ret_thread, &attributes, thread_main, start);
    pthread_attr_destroy(&attributes);
    return result == EINVAL && bound ? create(ret_thread, options, start, false) : result;
}

static int real_thread_start(void *self, struct base_thread *ret_thread,
                             const struct base_thread_options *options, void (*main)(void *),
                             void *arg)
{
    static const struct base_thread_options none;
    struct start *start = base_alloc(sizeof *start);
    if (!start) {
        return MANTA_E_NOMEM;
    }
    options = options ? options : &none;
    *start = (struct start){.main = main, .arg = arg};
    if (options->name) {
        strncpy(start->name, options->name, sizeof start->name - 1);
    }
    pthread_t thread;
    if (create(&thread, options, start, true) != 0) {
        base_free(start);
        return MANTA_E_LIMIT;
    }
    *ret_thread = (struct base_thread){.handle = (uint64_t)thread};
    return MANTA_OK;
}

static void real_thread_join(void *self, struct base_thread *thread)
{
    pthread_join((pthread_t)thread->handle, NULL);
}

static void real_yield(void *self)
{
    sched_yield();
}

static void real_work(void *self, uint64_t duration_ns)
{
    uint64_t end_ns = base_deadline_after(real_now_ns(self), duration_ns);
    while (real_now_ns(self) < end_ns) {
        base_cpu_relax();
    }
}

/* Eight bytes never come in parts; only a signal during the wait for the first seed ends it. */
static uint64_t real_random(void *self)
{
    uint64_t value;
    int saved_errno = errno;
    while (getrandom(&value, sizeof value, 0) != sizeof value) {
        if (errno != EINTR) {
            abort();
        }
    }
    errno = saved_errno;
    return value;
}

uint64_t base_since_1970_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

const struct base_host base_host_real = {
    .now_ns = real_now_ns,
    .ticks = real_ticks,
    .park = real_park,
    .wake = real_wake,
    .thread_start = real_thread_start,
    .thread_join = real_thread_join,
    .yield = real_yield,
    .work = real_work,
    .random = real_random,
    .spin_ns = 20000,
};
