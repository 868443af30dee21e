/* The one place where language extensions get a name. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define MT_LIKELY(x) __builtin_expect(!!(x), 1)
#define MT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MT_HOT __attribute__((hot))
#define MT_COLD __attribute__((cold, noinline))
#define MT_NOINLINE __attribute__((noinline))
#define MT_FLATTEN __attribute__((flatten)) /* what it calls is inlined */
#define MT_INLINE static inline __attribute__((always_inline))
#define MT_UNUSED __attribute__((unused))
#define MT_NORETURN __attribute__((noreturn))
#define MT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MT_CHECKED __attribute__((warn_unused_result))
#define MT_EXPORT __attribute__((visibility("default")))
#define MT_ALIGNED(n) __attribute__((aligned(n)))
#define MT_CLEANUP(f) __attribute__((cleanup(f)))
/* For code between clone(CLONE_VM) and exec: it leaves its stack without returning. */
#define MT_NO_SANITIZE __attribute__((no_sanitize("address", "thread", "undefined")))
#define MT_TLS __thread __attribute__((tls_model("initial-exec")))

#define MT_CACHE_LINE 64

#define MT_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MT_CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define MT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MT_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Rounds up to a multiple of a power of two. */
#define MT_ALIGN_UP(n, power) (((n) + ((power)-1)) & ~((__typeof__(n))(power)-1))

/* Tells the core that this is a polling loop (saves power, frees the sibling thread). */
MT_INLINE void base_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif
