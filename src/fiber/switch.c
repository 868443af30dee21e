/*
 * Switching between stacks: the only place of the program where the stack pointer
 * changes hands, and where the sanitizers are told.
 *
 * fiber_swap pushes the callee-saved registers and the floating-point control words
 * on the running stack, stores the stack pointer, loads the other one, pops the same
 * things there and goes on by an indirect jump to the popped return address. A `ret`
 * would never match the processor's return predictor (11 ns against 4), and neither
 * would one in fiber_switch: so all that a switch has to do is done before the stack
 * changes, and fiber_swap is its tail call. Control words are loaded only when they
 * differ. A new stack carries a hand-made frame of the same shape whose address is
 * fiber_begin; that has no caller, and says so to unwinders, so a backtrace ends there.
 *
 * Thread-locals do not follow a switch. A fiber stays on the thread that first ran it,
 * so the addresses of errno and `running` are the same before and after, and the side
 * that leaves sets both for the side that follows. `running` changes inside the swap,
 * after the last push: a handler of an overflow by these pushes finds the right fiber.
 *
 * Sanitizers. ASan must know the bounds of the stack that follows and keep the fake
 * stack of the one that is left; the bounds of a thread's own stack are those it gives
 * on the first departure. TSan gives each fiber a context of its own. It is made anew
 * for each life of a pooled stack, since an exit leaves frames on its shadow stack.
 *
 * Other processors, and builds with FIBER_UCONTEXT, use swapcontext: slow, correct.
 */
#include "base/alloc.h"
#include "fiber/context.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

static MT_TLS struct fiber *running;
static MT_TLS int *errno_slot; /* &errno, asked for once: the call costs 2 of 13 ns */
#ifdef FIBER_ASAN
static MT_TLS struct fiber *left; /* by the switch under way */
#endif

#if !defined(FIBER_UCONTEXT)

void fiber_swap(void **save_sp, void *const *load_sp, struct fiber **running_slot,
                struct fiber *to) __asm__("manta_fiber_swap");
void fiber_begin(void) __asm__("manta_fiber_begin");

#endif

MT_NORETURN static void fiber_main(struct fiber *self);

#if defined(__x86_64__) && !defined(FIBER_UCONTEXT)

/* Words of the frame, from the stack pointer up. */
enum {
    FRAME_FP,
    FRAME_R15,
    FRAME_R14,
    FRAME_R13,
    FRAME_R12,
    FRAME_RBX,
    FRAME_RBP,
    FRAME_RIP,
    FRAME_WORDS
};

/* clang-format off */
__asm__(
    ".pushsection .text.manta_fiber,\"ax\",@progbits\n"
    ".p2align 5\n"
    ".globl manta_fiber_swap\n"
    ".hidden manta_fiber_swap\n"
    ".type manta_fiber_swap,@function\n"
    "manta_fiber_swap:\n"
    ".cfi_startproc\n"
    "    pushq %rbp\n"
    ".cfi_def_cfa_offset 16\n"
    ".cfi_offset %rbp, -16\n"
    "    pushq %rbx\n"
    ".cfi_def_cfa_offset 24\n"
    ".cfi_offset %rbx, -24\n"
    "    pushq %r12\n"
    ".cfi_def_cfa_offset 32\n"
    ".cfi_offset %r12, -32\n"
    "    pushq %r13\n"
    ".cfi_def_cfa_offset 40\n"
    ".cfi_offset %r13, -40\n"
    "    pushq %r14\n"
    ".cfi_def_cfa_offset 48\n"
    ".cfi_offset %r14, -48\n"
    "    pushq %r15\n"
    ".cfi_def_cfa_offset 56\n"
    ".cfi_offset %r15, -56\n"
    "    subq $8, %rsp\n"
    ".cfi_def_cfa_offset 64\n"
    "    stmxcsr (%rsp)\n"
    "    fnstcw 4(%rsp)\n"
    "    movq %rcx, (%rdx)\n"
    "    movl (%rsp), %eax\n"
    "    movzwl 4(%rsp), %edx\n"
    "    movq %rsp, (%rdi)\n"
    "    movq (%rsi), %rsp\n"
    "    cmpl (%rsp), %eax\n"
    "    jne 3f\n"
    "1:  cmpw 4(%rsp), %dx\n"
    "    jne 4f\n"
    "2:  addq $8, %rsp\n"
    ".cfi_remember_state\n"
    ".cfi_def_cfa_offset 56\n"
    "    popq %r15\n"
    ".cfi_def_cfa_offset 48\n"
    ".cfi_restore %r15\n"
    "    popq %r14\n"
    ".cfi_def_cfa_offset 40\n"
    ".cfi_restore %r14\n"
    "    popq %r13\n"
    ".cfi_def_cfa_offset 32\n"
    ".cfi_restore %r13\n"
    "    popq %r12\n"
    ".cfi_def_cfa_offset 24\n"
    ".cfi_restore %r12\n"
    "    popq %rbx\n"
    ".cfi_def_cfa_offset 16\n"
    ".cfi_restore %rbx\n"
    "    popq %rbp\n"
    ".cfi_def_cfa_offset 8\n"
    ".cfi_restore %rbp\n"
    "    popq %rcx\n"
    ".cfi_def_cfa_offset 0\n"
    ".cfi_register %rip, %rcx\n"
    "    notrack jmp *%rcx\n"
    ".cfi_restore_state\n"
    "3:  ldmxcsr (%rsp)\n"
    "    jmp 1b\n"
    "4:  fldcw 4(%rsp)\n"
    "    jmp 2b\n"
    ".cfi_endproc\n"
    ".size manta_fiber_swap, .-manta_fiber_swap\n"
    ".p2align 4\n"
    ".hidden manta_fiber_begin\n"
    ".globl manta_fiber_begin\n"
    ".type manta_fiber_begin,@function\n"
    "manta_fiber_begin:\n"
    ".cfi_startproc\n"
    ".cfi_undefined %rip\n"
    "    xorl %ebp, %ebp\n"
    "    movq %r12, %rdi\n"
    "    call *%r13\n"
    "    ud2\n"
    ".cfi_endproc\n"
    ".size manta_fiber_begin, .-manta_fiber_begin\n"
    ".popsection\n");
/* clang-format on */

void fiber_origin_read(struct fiber_origin *ret_origin)
{
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ __volatile__("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(x87));
    ret_origin->fp_words = (mxcsr & ~UINT32_C(0x3f)) | (uint64_t)x87 << 32;
}

/* fiber_begin finds the stack aligned to 16, as before a call. */
static void build_frame(struct fiber *fiber, const struct fiber_origin *origin)
{
    uint64_t *top = (uint64_t *)((uintptr_t)fiber->high & ~(uintptr_t)15);
    uint64_t *frame = top - FRAME_WORDS;
    for (int i = 0; i < FRAME_WORDS; i++) {
        frame[i] = 0;
    }
    frame[FRAME_FP] = origin->fp_words;
    frame[FRAME_R12] = (uint64_t)fiber;
    frame[FRAME_R13] = (uint64_t)fiber_main;
    frame[FRAME_RIP] = (uint64_t)fiber_begin;
    fiber->sp = frame;
}

#elif defined(__aarch64__) && !defined(FIBER_UCONTEXT)

/* Words of the frame, from the stack pointer up: x19..x30, d8..d15, fpcr, one unused. */
enum { FRAME_X19, FRAME_X20, FRAME_X30 = 11, FRAME_D8, FRAME_FP = 20, FRAME_WORDS = 22 };

/* clang-format off */
__asm__(
    ".pushsection .text.manta_fiber,\"ax\",@progbits\n"
    ".p2align 5\n"
    ".globl manta_fiber_swap\n"
    ".hidden manta_fiber_swap\n"
    ".type manta_fiber_swap,%function\n"
    "manta_fiber_swap:\n"
    ".cfi_startproc\n"
    "    sub sp, sp, #176\n"
    ".cfi_def_cfa_offset 176\n"
    "    stp x19, x20, [sp, #0]\n"
    "    stp x21, x22, [sp, #16]\n"
    "    stp x23, x24, [sp, #32]\n"
    "    stp x25, x26, [sp, #48]\n"
    "    stp x27, x28, [sp, #64]\n"
    "    stp x29, x30, [sp, #80]\n"
    ".cfi_offset x19, -176\n"
    ".cfi_offset x20, -168\n"
    ".cfi_offset x21, -160\n"
    ".cfi_offset x22, -152\n"
    ".cfi_offset x23, -144\n"
    ".cfi_offset x24, -136\n"
    ".cfi_offset x25, -128\n"
    ".cfi_offset x26, -120\n"
    ".cfi_offset x27, -112\n"
    ".cfi_offset x28, -104\n"
    ".cfi_offset x29, -96\n"
    ".cfi_offset x30, -88\n"
    "    stp d8, d9, [sp, #96]\n"
    "    stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]\n"
    "    stp d14, d15, [sp, #144]\n"
    "    mrs x9, fpcr\n"
    "    str x9, [sp, #160]\n"
    "    str x3, [x2]\n"
    "    mov x10, sp\n"
    "    str x10, [x0]\n"
    "    ldr x10, [x1]\n"
    "    mov sp, x10\n"
    "    ldr x10, [sp, #160]\n"
    "    cmp x9, x10\n"
    "    b.eq 1f\n"
    "    msr fpcr, x10\n"
    "1:  ldp d14, d15, [sp, #144]\n"
    "    ldp d12, d13, [sp, #128]\n"
    "    ldp d10, d11, [sp, #112]\n"
    "    ldp d8, d9, [sp, #96]\n"
    "    ldp x29, x30, [sp, #80]\n"
    "    ldp x27, x28, [sp, #64]\n"
    "    ldp x25, x26, [sp, #48]\n"
    "    ldp x23, x24, [sp, #32]\n"
    "    ldp x21, x22, [sp, #16]\n"
    "    ldp x19, x20, [sp, #0]\n"
    "    add sp, sp, #176\n"
    ".cfi_def_cfa_offset 0\n"
    ".cfi_restore x19\n"
    ".cfi_restore x20\n"
    ".cfi_restore x21\n"
    ".cfi_restore x22\n"
    ".cfi_restore x23\n"
    ".cfi_restore x24\n"
    ".cfi_restore x25\n"
    ".cfi_restore x26\n"
    ".cfi_restore x27\n"
    ".cfi_restore x28\n"
    ".cfi_restore x29\n"
    ".cfi_restore x30\n"
    "    mov x16, x30\n"
    "    br x16\n"
    ".cfi_endproc\n"
    ".size manta_fiber_swap, .-manta_fiber_swap\n"
    ".p2align 4\n"
    ".globl manta_fiber_begin\n"
    ".hidden manta_fiber_begin\n"
    ".type manta_fiber_begin,%function\n"
    "manta_fiber_begin:\n"
    ".cfi_startproc\n"
    ".cfi_undefined x30\n"
    "    mov x29, #0\n"
    "    mov x30, #0\n"
    "    mov x0, x19\n"
    "    blr x20\n"
    "    brk #1\n"
    ".cfi_endproc\n"
    ".size manta_fiber_begin, .-manta_fiber_begin\n"
    ".popsection\n");
/* clang-format on */

void fiber_origin_read(struct fiber_origin *ret_origin)
{
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(ret_origin->fp_words));
}

static void build_frame(struct fiber *fiber, const struct fiber_origin *origin)
{
    uint64_t *top = (uint64_t *)((uintptr_t)fiber->high & ~(uintptr_t)15);
    uint64_t *frame = top - FRAME_WORDS;
    for (int i = 0; i < FRAME_WORDS; i++) {
        frame[i] = 0;
    }
    frame[FRAME_FP] = origin->fp_words;
    frame[FRAME_X19] = (uint64_t)fiber;
    frame[FRAME_X20] = (uint64_t)fiber_main;
    frame[FRAME_X30] = (uint64_t)fiber_begin;
    fiber->sp = frame;
}

#else

static void begin(unsigned high, unsigned low)
{
    fiber_main((struct fiber *)((uintptr_t)high << 16 << 16 | low));
}

void fiber_origin_read(struct fiber_origin *ret_origin)
{
    getcontext(&ret_origin->context);
}

/* The copied context goes on reading its floating-point state from the origin's, where the C
 * library so keeps it. */
static void build_frame(struct fiber *fiber, const struct fiber_origin *origin)
{
    uintptr_t address = (uintptr_t)fiber;
    fiber->context = origin->context;
    fiber->context.uc_stack.ss_sp = fiber->low;
    fiber->context.uc_stack.ss_size = (size_t)(fiber->high - fiber->low);
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, (void (*)(void))begin, 2, (unsigned)(address >> 16 >> 16),
                (unsigned)address);
}

#endif

MT_INLINE void swap(struct fiber *from, struct fiber *to)
{
    from->saved_errno = *errno_slot;
    *errno_slot = to->saved_errno;
#ifdef FIBER_UCONTEXT
    running = to;
    swapcontext(&from->context, &to->context);
#else
    fiber_swap(&from->sp, &to->sp, &running, to);
#endif
}

/* Before the stack changes. fake_stack NULL: the stack is left for good. */
MT_INLINE void depart(struct fiber *from, struct fiber *to, void **fake_stack)
{
#ifdef FIBER_ASAN
    left = from;
    __sanitizer_start_switch_fiber(fake_stack, to->low, (size_t)(to->high - to->low));
#endif
#ifdef FIBER_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
}

/* On the new stack. */
MT_INLINE void arrive(void *fake_stack)
{
#ifdef FIBER_ASAN
    const void *low;
    size_t size;
    __sanitizer_finish_switch_fiber(fake_stack, &low, &size);
    if (!left->pool) {
        left->low = (char *)(uintptr_t)low;
        left->high = left->low + size;
    }
#endif
}

static void fiber_main(struct fiber *self)
{
    arrive(NULL);
    self->entry(self->arg);
    abort();
}

MT_HOT void fiber_switch(struct fiber *from, struct fiber *to)
{
    void *fake_stack = NULL;
    depart(from, to, &fake_stack);
    swap(from, to);
    arrive(fake_stack);
}

void fiber_exit_to(struct fiber *from, struct fiber *to)
{
    depart(from, to, NULL);
    swap(from, to);
    abort();
}

struct fiber *fiber_current(void)
{
    return running;
}

void fiber_context_forget(struct fiber *fiber)
{
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(fiber->low, (size_t)(fiber->high - fiber->low));
#endif
}

void fiber_context_prepare(struct fiber *fiber, const struct fiber_origin *origin)
{
    fiber_context_forget(fiber);
    build_frame(fiber, origin);
    fiber->saved_errno = 0;
#ifdef FIBER_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
}

void fiber_context_drop(struct fiber *fiber)
{
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(fiber->tsan);
#endif
}

/* A bound that the system does not tell stays NULL. */
static void find_thread_stack(struct fiber *fiber)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0, guard_bytes = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return;
    }
    if (pthread_attr_getstack(&attributes, &low, &size) == 0 &&
        pthread_attr_getguardsize(&attributes, &guard_bytes) == 0 && size > guard_bytes) {
        fiber->low = (char *)low + guard_bytes;
        fiber->guard_bytes =
            2 * guard_bytes; /* whether low includes the guard differs among systems */
        fiber->high = (char *)low + size;
    }
    pthread_attr_destroy(&attributes);
}

/* On a thread that already runs a fiber (a virtual thread of the simulator) this is another name
 * for that stack. */
struct fiber *fiber_adopt_thread(void)
{
    struct fiber *fiber = base_alloc(sizeof *fiber);
    if (!fiber) {
        return NULL;
    }
    if (running) {
        fiber->low = running->low;
        fiber->high = running->high;
        fiber->guard_bytes = running->guard_bytes;
    } else {
        find_thread_stack(fiber);
    }
#ifdef FIBER_TSAN
    fiber->tsan = __tsan_get_current_fiber();
#endif
    fiber->outer = running;
    running = fiber;
    errno_slot = &errno;
    return fiber;
}

void fiber_release_thread(struct fiber *fiber)
{
    if (fiber && running == fiber) {
        running = fiber->outer;
    }
    base_free(fiber);
}

size_t fiber_stack_left(const struct fiber *fiber)
{
    const char *at = __builtin_frame_address(0);
    return at > fiber->low && at <= fiber->high && fiber->low ? (size_t)(at - fiber->low) : 0;
}
