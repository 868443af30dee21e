/*
 * A handler does one thing: it adds to an eventfd, and the watch thread does the rest.
 * In a child that a task has forked the handlers are still there but the job is not its
 * own, so there the signal does what it would have done without them.
 *
 * A stack overflow faults in a guard page, so its handler needs another stack: every
 * thread of a host made by signals_host has one, and so has the driver's. The handler
 * writes one line without any formatting function, puts the former disposition back and
 * returns; the same instruction faults again, and the process dies of the signal, with
 * the core dump or the debugger's stop where they belong. Faults that are no overflow go
 * the same way without the line.
 */
#include "launch/signals.h"

#include "base/alloc.h"
#include "fiber/fiber.h"
#include "manta/error.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "launch/watch.h"

#define ALTERNATE_BYTES ((size_t)64 << 10)
/* Below the main thread's stack: what the kernel keeps free. */
#define GAP_BYTES ((uintptr_t)1 << 20)

enum { SIGNAL_END, SIGNAL_REPORT, SIGNAL_FAULT, SIGNAL_BUS, SIGNALS };

static const int numbers[SIGNALS] = {SIGTERM, SIGUSR2, SIGSEGV, SIGBUS};

/* One process, one set of handlers. Written before they are installed. */
static struct {
    struct sigaction former[SIGNALS];
    stack_t former_stack;
    void *stack;
    const struct base_host *host; /* whose threads signals_host makes */
    uintptr_t driver_low;
    pid_t pid;
    int fd;
    char rank_text[12];
    const char *host_name;
} state;

static MT_TLS bool is_driver;

static void pass_on(int number)
{
    for (int i = 0; i < SIGNALS; i++) {
        if (numbers[i] == number) {
            sigaction(number, &state.former[i], NULL);
        }
    }
}

static void on_request(int number)
{
    uint64_t bits = number == SIGTERM ? WATCH_SIGNAL_END : WATCH_SIGNAL_REPORT;
    int saved_errno = errno;
    if (getpid() == state.pid) {
        (void)!write(state.fd, &bits, sizeof bits);
    } else {
        pass_on(number);
        raise(number);
    }
    errno = saved_errno;
}

struct line {
    char text[512];
    size_t length;
};

static void put(struct line *line, const char *text)
{
    while (*text && line->length < sizeof line->text) {
        line->text[line->length++] = *text++;
    }
}

static bool is_drivers_overflow(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    return is_driver && state.driver_low && at + GAP_BYTES >= state.driver_low &&
           at < state.driver_low;
}

static void note_overflow(const char *where, const char *name, const char *advice)
{
    struct line line = {.length = 0};
    put(&line, "manta: stack overflow in ");
    put(&line, where);
    put(&line, name);
    put(&line, " on rank ");
    put(&line, state.rank_text);
    put(&line, " of ");
    put(&line, state.host_name);
    put(&line, advice);
    (void)!write(STDERR_FILENO, line.text, line.length);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    const char *name;
    if (info->si_code > 0 && fiber_guard_hit(info->si_addr, &name)) {
        note_overflow(
            "task ", name,
            ": put less on the stack, or raise MANTA_STACK_BYTES (tasks that run while others "
            "wait) or ulimit -s (the others)\n");
    } else if (info->si_code > 0 && is_drivers_overflow(info->si_addr)) {
        note_overflow("the driver", "", ": put less on the stack, or raise ulimit -s\n");
    }
    pass_on(number);
    if (info->si_code <= 0) {
        raise(number); /* somebody sent it: nothing faults again */
    }
}

static void *stack_add(stack_t *ret_former)
{
    void *memory = base_alloc(ALTERNATE_BYTES);
    stack_t stack = {.ss_sp = memory, .ss_size = ALTERNATE_BYTES};
    if (memory && sigaltstack(&stack, ret_former) != 0) {
        base_free(memory);
        return NULL;
    }
    return memory;
}

static void stack_remove(void *memory, const stack_t *former)
{
    if (memory) {
        sigaltstack(former, NULL);
        base_free(memory);
    }
}

static void find_drivers_stack(void)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
    }
    state.driver_low = (uintptr_t)low;
    is_driver = true;
}

void signals_set_rank(uint32_t rank)
{
    char *at = state.rank_text + sizeof state.rank_text - 1;
    for (*at = 0; at == state.rank_text + sizeof state.rank_text - 1 || rank; rank /= 10) {
        *--at = (char)('0' + rank % 10);
    }
    memmove(state.rank_text, at, strlen(at) + 1);
}

int signals_install(int fd, const char *host_name)
{
    state.fd = fd;
    state.pid = getpid();
    state.host_name = host_name;
    signals_set_rank(0);
    find_drivers_stack();
    state.stack = stack_add(&state.former_stack);
    if (!state.stack) {
        return MANTA_E_NOMEM;
    }
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction action = {.sa_flags = SA_RESTART};
        if (i >= SIGNAL_FAULT) {
            action.sa_sigaction = on_fault;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        } else {
            action.sa_handler = on_request;
        }
        sigaction(numbers[i], &action, &state.former[i]);
    }
    return MANTA_OK;
}

void signals_restore(void)
{
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(numbers[i], &state.former[i], NULL);
    }
    stack_remove(state.stack, &state.former_stack);
    state.stack = NULL;
    is_driver = false;
}

/* ---- Threads -------------------------------------------------------------------------------- */

struct start {
    void (*main)(void *);
    void *arg;
};

static void thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    stack_t former;
    void *stack = stack_add(&former);
    base_free(arg);
    start.main(start.arg);
    stack_remove(stack, &former);
}

static int thread_start(void *self, struct base_thread *ret_thread,
                        const struct base_thread_options *options, void (*main)(void *), void *arg)
{
    struct start *start = base_alloc(sizeof *start);
    if (!start) {
        return MANTA_E_NOMEM;
    }
    *start = (struct start){main, arg};
    int code = state.host->thread_start(self, ret_thread, options, thread_main, start);
    if (code != MANTA_OK) {
        base_free(start);
    }
    return code;
}

struct base_host signals_host(const struct base_host *host)
{
    struct base_host made = *host;
    state.host = host;
    made.thread_start = thread_start;
    return made;
}
