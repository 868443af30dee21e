/*
 * MANTA_TASK: typed tasks over the binary interface of <manta/manta.h>. ISO C17 and C++17.
 *
 *     MANTA_TASK(name, kind(...), ...) { body }          one file: declares and defines, all static
 *     MANTA_TASK_DECLARE(name, kind(...), ...);          in a header
 *     MANTA_TASK_DEFINE(name, kind(...), ...) { body }   in one C or C++ file that includes it
 *
 * A task has 0 to MANTA_PARAM_MAX parameters, each of one of these kinds:
 *
 *     kind          at the call              in the body
 *     val(T, x)     T x                      T x                          copied; plain data
 *     text(x)       const char *x            const char *x                copied; may be NULL
 *     span(T, x)    const T *x, size_t x_len const T *x, size_t x_len     copied
 *     in(T, x)      manta_ref x              const T *x, size_t x_len     the value of x, awaited;
 *                                                                         <manta/array.h>
 *     inout(T, x)   manta_ref x              T *x, size_t x_len           the same, consumed; and an
 *                                                                         output
 *     ref(x)        manta_ref x              manta_ref x                  not awaited
 *     refs(x)       const manta_ref *x, size_t x_len     the same         not awaited
 *     out(T, x)     -                        T *x                         a fixed result
 *     outv(T, x)    -                        manta_outv *x                see manta_outv_alloc
 *     outrefs(x)    -                        manta_outv *x                of manta_ref
 *     stream(T, x)  -                        manta_source *x              the only output; see
 *                                                                         manta_yield
 *
 * and makes these functions and types:
 *
 *     int name(body parameters)              the body: an ordinary function
 *     manta_ref name_async(const manta_options *, call parameters)
 *                                            with several outputs it returns struct name_refs,
 *                                            whose members are refs named as the outputs
 *     int name_get(ref or struct name_refs, outputs)     waits and reads; per output
 *                                            out: T *x; inout, outv: const T **x, size_t *x_len;
 *                                            outrefs: const manta_ref **x, size_t *x_len. Arrays
 *                                            are borrowed as from manta_view. All or nothing is
 *                                            written.
 *                                            stream: uint64_t *x, how many items there were, at its
 *                                            end; the items come from manta_next
 *     manta_ref name_map(const manta_options *, uint64_t count, call parameters)
 *     int name_map_get(manta_ref, T *values, uint64_t count)
 *                                            manta_map; with no output (name_map only) or one out
 *     manta_function name_function           the descriptor, registered by a constructor
 *
 * How it works. Each parameter is rewritten once into a row (kind, T, x, how it looks in the body,
 * at the call, at get, what is checked), see MANTA_P_; every later macro walks over rows. A word
 * that is no kind gives no row, hence the static assertion that lists the kinds. In C++ what a
 * body throws becomes MANTA_E_EXCEPTION. A macro does not expand inside itself, so each place that
 * calls a computed macro has its own _NOW_. All names that end in _ belong to this header.
 */
#ifndef MANTA_TASK_H
#define MANTA_TASK_H

#include <manta/manta.h>
#include <manta/rng.h>
#include <string.h>

#ifdef __cplusplus
#include <exception>
#include <type_traits>
#endif

/* Returns the code of `expr` from this function unless it is MANTA_OK. */
#define MANTA_TRY(expr)                                                                            \
    do {                                                                                           \
        int manta_code_ = (expr);                                                                  \
        if (manta_code_ != MANTA_OK) {                                                             \
            return manta_code_;                                                                    \
        }                                                                                          \
    } while (0)

/*
 * MANTA_OPTIONS(.priority = 1, .name = "x"): a const manta_options * with these members and
 * the others at their defaults, in any order. In C it lives as long as the enclosing block, in
 * C++ as long as the call that it is written in.
 */
#ifdef __cplusplus
#define MANTA_OPTIONS(...)                                                                         \
    (manta_options_made_([&](manta_options &manta_made_) {                                         \
         (void)manta_made_;                                                                        \
         MANTA_EACH_(MANTA_SET_, manta_made_, __VA_ARGS__)                                         \
     }).get())
#else
#define MANTA_OPTIONS(...) (&(const manta_options){.reserved = {0}, __VA_ARGS__})
#endif
#define MANTA_SET_(i, made, assignment) (void)(made assignment);

/* ---- Lists of tokens ------------------------------------------------------------------------ */

#define MANTA_CAT_(a, b) MANTA_CAT_NOW_(a, b)
#define MANTA_CAT_NOW_(a, b) a##b
#define MANTA_APPLY_(macro, ...) macro(__VA_ARGS__)
#define MANTA_STRIP_(...) __VA_ARGS__
#define MANTA_FIRST_(first, ...) first
#define MANTA_REST_(first, ...) __VA_ARGS__
#define MANTA_SECOND_(...) MANTA_SECOND_NOW_(__VA_ARGS__)
#define MANTA_SECOND_NOW_(first, second, ...) second

/* The list always starts with a name, so the k-th entry from the right is for k - 1 more. A task of
 * 12 arrays has a body with 24 parameters. */
#define MANTA_PICK_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z,  \
                    picked, ...)                                                                   \
    picked
#define MANTA_COUNT_(...)                                                                          \
    MANTA_PICK_(__VA_ARGS__, many, many, many, many, many, many, many, many, many, many, many,     \
                many, many, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ~)
#define MANTA_ARITY_(...)                                                                          \
    MANTA_PICK_(__VA_ARGS__, many, many, many, many, many, many, many, many, many, many, many,     \
                many, many, many, many, many, many, many, many, many, many, many, many, many, one, \
                none, ~)

/* MANTA_EACH_(m, name, a, b): m(0, name, a) m(1, name, b). */
#define MANTA_EACH_(m, ...)                                                                        \
    MANTA_EACH_NOW_(MANTA_CAT_(MANTA_EACH_, MANTA_COUNT_(__VA_ARGS__)), m, __VA_ARGS__)
#define MANTA_EACH_NOW_(macro, ...) macro(__VA_ARGS__)
#define MANTA_EACH_0(z, n)
#define MANTA_EACH_1(z, n, a) z(0, n, a)
#define MANTA_EACH_2(z, n, a, b) z(0, n, a) z(1, n, b)
#define MANTA_EACH_3(z, n, a, b, c) MANTA_EACH_2(z, n, a, b) z(2, n, c)
#define MANTA_EACH_4(z, n, a, b, c, d) MANTA_EACH_3(z, n, a, b, c) z(3, n, d)
#define MANTA_EACH_5(z, n, a, b, c, d, e) MANTA_EACH_4(z, n, a, b, c, d) z(4, n, e)
#define MANTA_EACH_6(z, n, a, b, c, d, e, f) MANTA_EACH_5(z, n, a, b, c, d, e) z(5, n, f)
#define MANTA_EACH_7(z, n, a, b, c, d, e, f, g) MANTA_EACH_6(z, n, a, b, c, d, e, f) z(6, n, g)
#define MANTA_EACH_8(z, n, a, b, c, d, e, f, g, h)                                                 \
    MANTA_EACH_7(z, n, a, b, c, d, e, f, g) z(7, n, h)
#define MANTA_EACH_9(z, n, a, b, c, d, e, f, g, h, i)                                              \
    MANTA_EACH_8(z, n, a, b, c, d, e, f, g, h) z(8, n, i)
#define MANTA_EACH_10(z, n, a, b, c, d, e, f, g, h, i, j)                                          \
    MANTA_EACH_9(z, n, a, b, c, d, e, f, g, h, i) z(9, n, j)
#define MANTA_EACH_11(z, n, a, b, c, d, e, f, g, h, i, j, k)                                       \
    MANTA_EACH_10(z, n, a, b, c, d, e, f, g, h, i, j) z(10, n, k)
#define MANTA_EACH_12(z, n, a, b, c, d, e, f, g, h, i, j, k, l)                                    \
    MANTA_EACH_11(z, n, a, b, c, d, e, f, g, h, i, j, k) z(11, n, l)
#define MANTA_EACH_many(z, n, ...) z(0, n, more than 12 parameters)

/* Comma-separated, in parentheses, from a list that starts with a name. */
#define MANTA_LIST_NOW_(macro, ...) macro(__VA_ARGS__)
#define MANTA_PARAMS_(...)                                                                         \
    MANTA_LIST_NOW_(MANTA_CAT_(MANTA_PARAMS_, MANTA_ARITY_(__VA_ARGS__)), __VA_ARGS__)
#define MANTA_PARAMS_none(name) (void)
#define MANTA_PARAMS_one(...) (MANTA_REST_(__VA_ARGS__))
#define MANTA_PARAMS_many(...) (MANTA_REST_(__VA_ARGS__))
#define MANTA_VALUES_(...)                                                                         \
    MANTA_LIST_NOW_(MANTA_CAT_(MANTA_VALUES_, MANTA_ARITY_(__VA_ARGS__)), __VA_ARGS__)
#define MANTA_VALUES_none(name) ()
#define MANTA_VALUES_one(...) (MANTA_REST_(__VA_ARGS__))
#define MANTA_VALUES_many(...) (MANTA_REST_(__VA_ARGS__))

/* ---- C and C++ ------------------------------------------------------------------------------ */

#ifdef __cplusplus
#define MANTA_ASSERT_(condition, text) static_assert(condition, text);
#define MANTA_ALIGNOF_(T) alignof(T)
#define MANTA_EXTERN_ extern "C"
#define MANTA_IS_POINTER_(T) (std::is_pointer<T>::value || std::is_member_pointer<T>::value)
#define MANTA_IS_REF_(T) std::is_same<T, manta_ref>::value
#define MANTA_IS_PLAIN_(T) std::is_trivially_copyable<T>::value
#else
#define MANTA_ASSERT_(condition, text) _Static_assert(condition, text);
#define MANTA_ALIGNOF_(T) _Alignof(T)
#define MANTA_EXTERN_ extern
#define MANTA_IS_POINTER_(T) (__builtin_classify_type(*(T *)0) == 5)
#define MANTA_IS_REF_(T) _Generic((T *)0, manta_ref * : 1, default : 0)
#define MANTA_IS_PLAIN_(T) 1
#endif

#if defined(__cpp_exceptions)
#define MANTA_GUARD_(call)                                                                         \
    try {                                                                                          \
        return call;                                                                               \
    } catch (...) {                                                                                \
        return manta_caught_();                                                                    \
    }
#else
#define MANTA_GUARD_(call) return call;
#endif

#define MANTA_GENERATED_ static inline __attribute__((unused))
#ifdef __clang__
#define MANTA_KEPT_ __attribute__((noinline, unused))
#else
#define MANTA_KEPT_ __attribute__((noinline, noclone, unused))
#endif

/* ---- The kinds ------------------------------------------------------------------------------ */

/* (kind, T, x, how it looks in the body, at the call, at get, what is checked) */
#define MANTA_P_val(T, x) (MANTA_KIND_VAL, T, x, value_, value_, none_, data_)
#define MANTA_P_text(x) (MANTA_KIND_TEXT, char, x, text_, text_, none_, none_)
#define MANTA_P_span(T, x) (MANTA_KIND_SPAN, T, x, span_, span_, none_, data_)
#define MANTA_P_in(T, x) (MANTA_KIND_IN, T, x, span_, ref_, none_, array_)
#define MANTA_P_inout(T, x) (MANTA_KIND_INOUT, T, x, array_, ref_, view_, array_)
#define MANTA_P_ref(x) (MANTA_KIND_REF, manta_ref, x, value_, ref_, none_, none_)
#define MANTA_P_refs(x) (MANTA_KIND_REFS, manta_ref, x, span_, span_, none_, none_)
#define MANTA_P_out(T, x) (MANTA_KIND_OUT, T, x, pointer_, none_, fixed_, data_)
#define MANTA_P_outv(T, x) (MANTA_KIND_OUTV, T, x, outv_, none_, view_, data_)
#define MANTA_P_outrefs(x) (MANTA_KIND_OUTREFS, manta_ref, x, outv_, none_, view_, none_)
#define MANTA_P_stream(T, x) (MANTA_KIND_STREAM, T, x, stream_, none_, count_, data_)

/* 1 for a row, 0 for what is not in parentheses. */
#define MANTA_IS_ROW_(row) MANTA_SECOND_(MANTA_PROBE_ row, 0, ~)
#define MANTA_PROBE_(...) ~, 1

/* "name, kind(...), ..." becomes "name, row, ..."; a stand-in takes the place of what is none. */
#define MANTA_ROWS_(...) MANTA_FIRST_(__VA_ARGS__, ~) MANTA_EACH_(MANTA_ROW_, __VA_ARGS__)
#define MANTA_ROW_(i, name, p) , MANTA_CAT_(MANTA_ROW_, MANTA_IS_ROW_(MANTA_P_##p))(i, MANTA_P_##p)
#define MANTA_ROW_1(i, row) row
#define MANTA_ROW_0(i, row) (MANTA_KIND_VAL, char, manta_wrong_##i, value_, value_, none_, none_)

#define MANTA_KNOWN_(i, name, p)                                                                   \
    MANTA_ASSERT_(MANTA_IS_ROW_(MANTA_P_##p),                                                      \
                  "task " #name ": no parameter: " #p ". A task takes up to 12, each one of "      \
                  "val(T, x), text(x), span(T, x), in(T, x), inout(T, x), ref(x), refs(x), "       \
                  "out(T, x), outv(T, x), outrefs(x), stream(T, x)")

/* MANTA_WITH_(m, i, name, row): m(i, name, kind, T, x, body, call, get, check). */
#define MANTA_WITH_(m, i, name, row) MANTA_APPLY_(m, i, name, MANTA_STRIP_ row)
#define MANTA_WALK_(m, rows) MANTA_EACH_(m, MANTA_STRIP_ rows)

/* ---- What is checked ------------------------------------------------------------------------ */

#define MANTA_CHECK_(i, name, row) MANTA_WITH_(MANTA_CHECK_ROW_, i, name, row)
#define MANTA_CHECK_ROW_(i, name, kind, T, x, body, call, get, check)                              \
    MANTA_CHECK_##check(name, T, x)
#define MANTA_CHECK_none_(name, T, x)
#define MANTA_CHECK_data_(name, T, x)                                                              \
    MANTA_ASSERT_(!MANTA_IS_REF_(T), "task " #name ": " #x " hides a ref in its bytes. Use "       \
                                     "ref(x), refs(x) or outrefs(x)")                              \
    MANTA_CHECK_array_(name, T, x)
#define MANTA_CHECK_array_(name, T, x)                                                             \
    MANTA_ASSERT_(!MANTA_IS_POINTER_(T), "task " #name ": " #x " is a pointer, which means "       \
                                         "nothing on another rank. Use text(x), span(T, x), "      \
                                         "in(T, x) or outv(T, x)")                                 \
    MANTA_ASSERT_(MANTA_IS_PLAIN_(T), "task " #name ": " #x " cannot be copied byte by byte")      \
    MANTA_ASSERT_(sizeof(T) <= MANTA_INLINE_MAX && MANTA_ALIGNOF_(T) <= 16,                        \
                  "task " #name ": " #x " is too big, or aligned to more than 16 bytes")

/* A number of the kinds in their order: makes MANTA_TASK_DECLARE and _DEFINE agree. */
#define MANTA_SIGNATURE_(name, rows)                                                               \
    extern const char name##_declared_and_defined_differently_[1 MANTA_WALK_(MANTA_DIGIT_, rows)];
#define MANTA_DIGIT_(i, name, row) MANTA_WITH_(MANTA_DIGIT_ROW_, i, name, row)
#define MANTA_DIGIT_ROW_(i, name, kind, T, x, body, call, get, check)                              \
    +(MANTA_CAST_(unsigned long long, kind) << (4 * i))

/* ---- The body and its descriptor ------------------------------------------------------------ */

#define MANTA_BODY_(name, rows) name MANTA_PARAMS_(name MANTA_WALK_(MANTA_BODY_PARAM_, rows))
#define MANTA_BODY_PARAM_(i, name, row) MANTA_WITH_(MANTA_BODY_ROW_, i, name, row)
#define MANTA_BODY_ROW_(i, name, kind, T, x, body, call, get, check) , MANTA_BODY_##body(T, x)
#define MANTA_BODY_value_(T, x) T x
#define MANTA_BODY_text_(T, x) const char *x
#define MANTA_BODY_span_(T, x) const T *x, size_t x##_len __attribute__((unused))
#define MANTA_BODY_array_(T, x) T *x, size_t x##_len __attribute__((unused))
#define MANTA_BODY_pointer_(T, x) T *x
#define MANTA_BODY_outv_(T, x) manta_outv *x
#define MANTA_BODY_stream_(T, x) manta_source *x

#define MANTA_PASS_(i, name, row) MANTA_WITH_(MANTA_PASS_ROW_, i, name, row)
#define MANTA_PASS_ROW_(i, name, kind, T, x, body, call, get, check)                               \
    , MANTA_PASS_##body(T, manta_slots_[i])
#define MANTA_PASS_value_(T, slot) *MANTA_CAST_(const T *, slot.data)
#define MANTA_PASS_text_(T, slot) MANTA_CAST_(const char *, slot.data)
#define MANTA_PASS_span_(T, slot) MANTA_CAST_(const T *, slot.data), slot.count
#define MANTA_PASS_array_(T, slot) MANTA_CAST_(T *, slot.data), slot.count
#define MANTA_PASS_pointer_(T, slot) MANTA_CAST_(T *, slot.data)
#define MANTA_PASS_outv_(T, slot) MANTA_CAST_(manta_outv *, slot.data)
#define MANTA_PASS_stream_(T, slot) MANTA_CAST_(manta_source *, slot.data)

#define MANTA_TABLE_(i, name, row) MANTA_WITH_(MANTA_TABLE_ROW_, i, name, row)
#define MANTA_TABLE_ROW_(i, name, kind, T, x, body, call, get, check)                              \
    {kind, sizeof(T), MANTA_ALIGNOF_(T), MANTA_DTYPE(T), #T, #x},

/* The table ends in an empty row, so that a task without parameters has one too. */
#define MANTA_DESCRIPTOR_(scope, name, rows)                                                       \
    static const manta_param name##_params_[] = {                                                  \
        MANTA_WALK_(MANTA_TABLE_, rows){0, 0, 0, 0, NULL, NULL}};                                  \
    static int name##_run_(const manta_slot *manta_slots_)                                         \
    {                                                                                              \
        (void)manta_slots_;                                                                        \
        MANTA_GUARD_(name MANTA_VALUES_(name MANTA_WALK_(MANTA_PASS_, rows)))                      \
    }                                                                                              \
    scope manta_function name##_function = {                                                       \
        #name,          __FILE__,    __LINE__, MANTA_COUNT_(MANTA_STRIP_ rows),                    \
        name##_params_, name##_run_, NULL,     {0}};                                               \
    __attribute__((constructor)) static void name##_register_(void)                                \
    {                                                                                              \
        manta_function_register(&name##_function);                                                 \
    }

/* ---- The call ------------------------------------------------------------------------------- */

#define MANTA_CALL_(i, name, row) MANTA_WITH_(MANTA_CALL_ROW_, i, name, row)
#define MANTA_CALL_ROW_(i, name, kind, T, x, body, call, get, check) MANTA_CALL_##call(T, x)
#define MANTA_CALL_none_(T, x)
#define MANTA_CALL_value_(T, x) , T x
#define MANTA_CALL_text_(T, x) , const char *x
#define MANTA_CALL_span_(T, x) , const T *x, size_t x##_len
#define MANTA_CALL_ref_(T, x) , manta_ref x

#define MANTA_ARG_(i, name, row) MANTA_WITH_(MANTA_ARG_ROW_, i, name, row)
#define MANTA_ARG_ROW_(i, name, kind, T, x, body, call, get, check) MANTA_ARG_##call(x),
#define MANTA_ARG_none_(x) manta_slot_(NULL, 0)
#define MANTA_ARG_value_(x) manta_slot_(&x, 1)
#define MANTA_ARG_text_(x) manta_slot_(x, x ? strlen(x) : 0)
#define MANTA_ARG_span_(x) manta_slot_(x, x##_len)
#define MANTA_ARG_ref_(x) manta_slot_(&x, 1)

#define MANTA_ASYNC_(name, type, rows)                                                             \
    MANTA_GENERATED_ type name##_async(                                                            \
        const manta_options *manta_options_ MANTA_WALK_(MANTA_CALL_, rows))                        \
    {                                                                                              \
        const manta_slot manta_args_[] = {MANTA_WALK_(MANTA_ARG_, rows) manta_slot_(NULL, 0)};     \
        type manta_made_;                                                                          \
        manta_submit(&name##_function, manta_options_, manta_args_,                                \
                     MANTA_CAST_(manta_ref *, MANTA_CAST_(void *, &manta_made_)));                 \
        return manta_made_;                                                                        \
    }

#define MANTA_MAP_(name, rows)                                                                     \
    MANTA_GENERATED_ manta_ref name##_map(const manta_options *manta_options_,                     \
                                          uint64_t manta_count_ MANTA_WALK_(MANTA_CALL_, rows))    \
    {                                                                                              \
        const manta_slot manta_args_[] = {MANTA_WALK_(MANTA_ARG_, rows) manta_slot_(NULL, 0)};     \
        return manta_map(&name##_function, manta_options_, manta_args_, manta_count_);             \
    }

/* ---- The results ---------------------------------------------------------------------------- */

/* "name, output, ...", an output being (get, T, x). */
#define MANTA_OUTPUTS_(name, rows) name MANTA_WALK_(MANTA_OUTPUT_, rows)
#define MANTA_OUTPUT_(i, name, row) MANTA_WITH_(MANTA_OUTPUT_ROW_, i, name, row)
#define MANTA_OUTPUT_ROW_(i, name, kind, T, x, body, call, get, check) MANTA_OUTPUT_##get(T, x)
#define MANTA_OUTPUT_none_(T, x)
#define MANTA_OUTPUT_fixed_(T, x) , (fixed_, T, x)
#define MANTA_OUTPUT_view_(T, x) , (view_, T, x)
#define MANTA_OUTPUT_count_(T, x) , (count_, uint64_t, x)

#define MANTA_GET_PARAM_(i, name, output) MANTA_APPLY_(MANTA_GET_PARAM_NOW_, MANTA_STRIP_ output)
#define MANTA_GET_PARAM_NOW_(get, T, x) MANTA_GET_PARAM_##get(T, x)
#define MANTA_GET_PARAM_fixed_(T, x) , T *x
#define MANTA_GET_PARAM_view_(T, x) , const T **x, size_t *x##_len
#define MANTA_GET_PARAM_count_(T, x) , T *x

#define MANTA_MEMBER_(i, name, output) MANTA_APPLY_(MANTA_MEMBER_NOW_, MANTA_STRIP_ output)
#define MANTA_MEMBER_NOW_(get, T, x) manta_ref x;

#define MANTA_WANT_(i, name, output) MANTA_APPLY_(MANTA_WANT_NOW_, MANTA_STRIP_ output)
#define MANTA_WANT_NOW_(get, T, x) {manta_refs_.x, MANTA_WANT_##get(T), sizeof(T), NULL, 0},
#define MANTA_WANT_fixed_(T) 1
#define MANTA_WANT_view_(T) 0
#define MANTA_WANT_count_(T) 1

#define MANTA_TAKE_(i, name, output) MANTA_APPLY_(MANTA_TAKE_NOW_, i, MANTA_STRIP_ output)
#define MANTA_TAKE_NOW_(i, get, T, x) MANTA_TAKE_##get(manta_wanted_[i], T, x)
#define MANTA_TAKE_fixed_(wanted, T, x)                                                            \
    memcpy(x, wanted.data, sizeof(T));                                                             \
    (void)manta_unview(wanted.ref);
#define MANTA_TAKE_count_(wanted, T, x) MANTA_TAKE_fixed_(wanted, T, x)
#define MANTA_TAKE_view_(wanted, T, x)                                                             \
    *x = MANTA_CAST_(const T *, wanted.data);                                                      \
    *x##_len = wanted.count;

#define MANTA_CALLS_(name, rows)                                                                   \
    MANTA_CALLS_NOW_(MANTA_CAT_(MANTA_CALLS_, MANTA_ARITY_(MANTA_OUTPUTS_(name, rows))), name,     \
                     rows, (MANTA_OUTPUTS_(name, rows)))
#define MANTA_CALLS_NOW_(macro, ...) macro(__VA_ARGS__)

#define MANTA_CALLS_none(name, rows, outputs)                                                      \
    MANTA_ASYNC_(name, manta_ref, rows)                                                            \
    MANTA_MAP_(name, rows)                                                                         \
    MANTA_GENERATED_ int name##_get(manta_ref manta_ref_)                                          \
    {                                                                                              \
        return manta_get(manta_ref_, NULL, 0);                                                     \
    }

#define MANTA_CALLS_one(name, rows, outputs)                                                       \
    MANTA_ASYNC_(name, manta_ref, rows)                                                            \
    MANTA_CALLS_ONE_(MANTA_CALLS_ONE_NOW_, name, rows, MANTA_SINGLE_ outputs)
#define MANTA_SINGLE_(name, output) MANTA_STRIP_ output
#define MANTA_CALLS_ONE_(macro, ...) macro(__VA_ARGS__)
#define MANTA_CALLS_ONE_NOW_(name, rows, get, T, x) MANTA_CALLS_ONE_##get(name, rows, T, x)
#define MANTA_CALLS_ONE_fixed_(name, rows, T, x)                                                   \
    MANTA_MAP_(name, rows)                                                                         \
    MANTA_GENERATED_ int name##_get(manta_ref manta_ref_, T *x)                                    \
    {                                                                                              \
        return manta_get(manta_ref_, x, sizeof(T));                                                \
    }                                                                                              \
    MANTA_GENERATED_ int name##_map_get(manta_ref manta_ref_, T *x, uint64_t manta_count_)         \
    {                                                                                              \
        return manta_map_get(manta_ref_, x, sizeof(T), manta_count_, NULL);                        \
    }
#define MANTA_CALLS_ONE_count_(name, rows, T, x)                                                   \
    MANTA_GENERATED_ int name##_get(manta_ref manta_ref_, T *x)                                    \
    {                                                                                              \
        return manta_get(manta_ref_, x, sizeof(T));                                                \
    }
#define MANTA_CALLS_ONE_view_(name, rows, T, x)                                                    \
    MANTA_GENERATED_ int name##_get(manta_ref manta_ref_, const T **x, size_t *x##_len)            \
    {                                                                                              \
        manta_output_ manta_wanted_[] = {{manta_ref_, 0, sizeof(T), NULL, 0}};                     \
        MANTA_TRY(manta_want_(manta_wanted_, 1));                                                  \
        MANTA_TAKE_view_(manta_wanted_[0], T, x) return MANTA_OK;                                  \
    }

#define MANTA_CALLS_many(name, rows, outputs)                                                      \
    struct name##_refs {                                                                           \
        MANTA_WALK_(MANTA_MEMBER_, outputs)                                                        \
    };                                                                                             \
    MANTA_ASYNC_(name, struct name##_refs, rows)                                                   \
    MANTA_GENERATED_ int name##_get(                                                               \
        struct name##_refs manta_refs_ MANTA_WALK_(MANTA_GET_PARAM_, outputs))                     \
    {                                                                                              \
        manta_output_ manta_wanted_[] = {MANTA_WALK_(MANTA_WANT_, outputs)};                       \
        MANTA_TRY(manta_want_(manta_wanted_, sizeof manta_wanted_ / sizeof manta_wanted_[0]));     \
        MANTA_WALK_(MANTA_TAKE_, outputs)                                                          \
        return MANTA_OK;                                                                           \
    }

/* ---- The three ------------------------------------------------------------------------------ */

/* Declares and defines a task of this file; its body follows. See the top of this header. */
#define MANTA_TASK(...)                                                                            \
    MANTA_EACH_(MANTA_KNOWN_, __VA_ARGS__)                                                         \
    MANTA_TASK_NOW_(MANTA_TASK_STATIC_, MANTA_FIRST_(__VA_ARGS__, ~), (MANTA_ROWS_(__VA_ARGS__)))
/* Declares a task that one file defines; for headers. A ';' follows. */
#define MANTA_TASK_DECLARE(...)                                                                    \
    MANTA_EACH_(MANTA_KNOWN_, __VA_ARGS__)                                                         \
    MANTA_TASK_NOW_(MANTA_TASK_DECLARE_, MANTA_FIRST_(__VA_ARGS__, ~), (MANTA_ROWS_(__VA_ARGS__)))
/* Defines a task that a header declares; its body follows. In one C or C++ file. */
#define MANTA_TASK_DEFINE(...)                                                                     \
    MANTA_EACH_(MANTA_KNOWN_, __VA_ARGS__)                                                         \
    MANTA_TASK_NOW_(MANTA_TASK_DEFINE_, MANTA_FIRST_(__VA_ARGS__, ~), (MANTA_ROWS_(__VA_ARGS__)))

#define MANTA_TASK_NOW_(macro, ...) macro(__VA_ARGS__)

#define MANTA_TASK_STATIC_(name, rows)                                                             \
    MANTA_WALK_(MANTA_CHECK_, rows)                                                                \
    static int MANTA_BODY_(name, rows) MANTA_KEPT_;                                                \
    MANTA_DESCRIPTOR_(static, name, rows)                                                          \
    MANTA_CALLS_(name, rows)                                                                       \
    static int MANTA_BODY_(name, rows)

#define MANTA_TASK_DECLARE_(name, rows)                                                            \
    MANTA_WALK_(MANTA_CHECK_, rows)                                                                \
    MANTA_SIGNATURE_(name, rows)                                                                   \
    MANTA_EXTERN_ manta_function name##_function;                                                  \
    MANTA_CALLS_(name, rows)                                                                       \
    MANTA_EXTERN_ int MANTA_BODY_(name, rows)

#define MANTA_TASK_DEFINE_(name, rows)                                                             \
    MANTA_WALK_(MANTA_CHECK_, rows)                                                                \
    MANTA_SIGNATURE_(name, rows)                                                                   \
    MANTA_EXTERN_ manta_function name##_function;                                                  \
    MANTA_EXTERN_ int MANTA_BODY_(name, rows) MANTA_KEPT_;                                         \
    MANTA_DESCRIPTOR_(, name, rows)                                                                \
    int MANTA_BODY_(name, rows)

/* ---- What the generated functions call ------------------------------------------------------ */

/* One result to read: `size` bytes if fixed, else elements of that size. */
typedef struct manta_output_ {
    manta_ref ref;
    int is_fixed;
    size_t size;
    const void *data;
    size_t count;
} manta_output_;

/* One argument of manta_submit. The library only reads it. */
MANTA_GENERATED_ manta_slot manta_slot_(const void *data, size_t count)
{
    manta_slot slot;
    memcpy(&slot.data, &data, sizeof data);
    slot.count = count;
    return slot;
}

/* Views one result and fills in where it is. */
MANTA_GENERATED_ int manta_want_one_(manta_output_ *wanted)
{
    size_t bytes = 0;
    MANTA_TRY(manta_view(wanted->ref, &wanted->data, &bytes));
    if (wanted->is_fixed ? bytes != wanted->size : bytes % wanted->size != 0) {
        (void)manta_unview(wanted->ref);
        return MANTA_E_TYPE;
    }
    wanted->count = bytes / wanted->size;
    return MANTA_OK;
}

/* Views all results of a task, or none of them: then the first error. */
MANTA_GENERATED_ int manta_want_(manta_output_ *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int code = manta_want_one_(&wanted[i]);
        if (code != MANTA_OK) {
            while (i--) {
                (void)manta_unview(wanted[i].ref);
            }
            return code;
        }
    }
    return MANTA_OK;
}

#ifdef __cplusplus
extern "C++" {

/* Options whose members a function sets: C++17 has no designated initializers. */
struct manta_options_made_ {
    manta_options options;
    template <class Set> explicit manta_options_made_(Set set) : options()
    {
        set(options);
    }
    const manta_options *get() const
    {
        return &options;
    }
};

#if defined(__cpp_exceptions)
/* In a handler: turns what was thrown into this task's error. */
inline int manta_caught_() noexcept
{
    try {
        throw;
    } catch (const std::exception &exception) {
        return manta_fail(MANTA_E_EXCEPTION, "%s", exception.what());
    } catch (...) {
        return manta_fail(MANTA_E_EXCEPTION, "something that is no std::exception was thrown");
    }
}
#endif
}
#endif

#endif
