/*
 * Arrays: values that know their element type and their shape. ISO C17 and C++17. Part of
 * <manta/manta.h>.
 *
 * A layout is an element type and up to eight extents, the slowest first, elements in C's order
 * without gaps. It travels with the value wherever that goes, to the node's store, to other nodes,
 * into tasks: a task's `in(T, x)` refuses a value of another element type, and a view one of
 * another shape. A value that was made without a layout is bytes, as before, and nothing is known
 * to compare.
 *
 *     double x[3][4] = {{0}};
 *     manta_ref a = manta_put_array(double, &x[0][0], 3, 4);     copied once
 *
 *     manta_room room;                                           not copied at all
 *     double *y = manta_put_alloc(double, &room, 3, 4);
 *     ... fill y ...
 *     manta_ref b = manta_put_end(room);
 *
 *     manta_array v;
 *     MANTA_TRY(manta_view_array(double, b, &v, 3, MANTA_ANY));  any number of columns
 *     ... v.data, v.count, v.layout.shape[1] ...
 *     MANTA_TRY(manta_unview(b));
 *
 * A body makes one with manta_outv_array and asks for an argument's shape with manta_layout_of.
 * Element types are those of MANTA_DTYPE_MAP; of any other type, a struct for example, the size is
 * what is kept and compared. A parameter of `char` takes the bytes of any value.
 */
#ifndef MANTA_ARRAY_H
#define MANTA_ARRAY_H

#include <manta/manta.h>
#include <string.h>

#ifdef __cplusplus
#include <type_traits>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Most extents of a layout. */
#define MANTA_DIMS_MAX 8
/* For a layout that is asked for: any extent; any number of extents. */
#define MANTA_ANY UINT64_MAX
#define MANTA_ANY_DIMS UINT32_MAX

/* Every element type, once: name, value, text, bytes (0: the layout says). */
#define MANTA_DTYPE_MAP(X)                                                                         \
    X(BYTES, 1, "bytes", 0)                                                                        \
    X(BOOL, 2, "bool", 1)                                                                          \
    X(INT8, 3, "int8", 1)                                                                          \
    X(INT16, 4, "int16", 2)                                                                        \
    X(INT32, 5, "int32", 4)                                                                        \
    X(INT64, 6, "int64", 8)                                                                        \
    X(UINT8, 7, "uint8", 1)                                                                        \
    X(UINT16, 8, "uint16", 2)                                                                      \
    X(UINT32, 9, "uint32", 4)                                                                      \
    X(UINT64, 10, "uint64", 8)                                                                     \
    X(FLOAT16, 11, "float16", 2)                                                                   \
    X(BFLOAT16, 12, "bfloat16", 2)                                                                 \
    X(FLOAT32, 13, "float32", 4)                                                                   \
    X(FLOAT64, 14, "float64", 8)                                                                   \
    X(COMPLEX64, 15, "complex64", 8)                                                               \
    X(COMPLEX128, 16, "complex128", 16)

typedef enum manta_dtype {
    MANTA_DTYPE_NONE = 0, /* not known */
#define MANTA_X(name, value, text, bytes) MANTA_DTYPE_##name = value,
    MANTA_DTYPE_MAP(MANTA_X)
#undef MANTA_X
} manta_dtype;

/* Half precision and its short sister, as bits: C has no names for them everywhere. */
typedef struct manta_float16 {
    uint16_t bits;
} manta_float16;
typedef struct manta_bfloat16 {
    uint16_t bits;
} manta_bfloat16;

/* Element type and shape. With dtype MANTA_DTYPE_NONE it only says how many bytes, and travels with
 * nothing. */
typedef struct manta_layout {
    uint32_t dtype;      /* manta_dtype */
    uint32_t item_bytes; /* of one element */
    uint32_t dims;       /* how many extents; 0: a single element */
    uint32_t reserved;   /* 0 */
    uint64_t shape[MANTA_DIMS_MAX];
} manta_layout;

/* A value in place, see manta_array_view. */
typedef struct manta_array {
    const void *data; /* borrowed until manta_unview */
    size_t count;     /* elements, all extents multiplied */
    manta_layout layout;
} manta_array;

/* A value under construction. */
typedef struct manta_room {
    void *data; /* 16-aligned, in the store 64-aligned; written by its maker only */
    uint64_t id;
} manta_room;

/*
 * Makes room for a value, to be filled and then turned into it by manta_put_end. More than
 * MANTA_INLINE_MAX bytes are in the memory that the node's ranks share, and are never copied.
 * What the room holds before is not defined. It belongs to this scope (task or driver, or the
 * innermost manta_scope_begin), whose end gives it back if it is still open. MANTA_E_INVALID: a bad
 * layout; MANTA_E_TOOBIG, MANTA_E_LIMIT, MANTA_E_NOMEM: no room. Blocks while pages are cleared.
 */
MANTA_API int manta_put_begin(const manta_layout *layout, manta_room *ret_room);
/* The value of a room, which nobody may write to any more. The ref is all zero, and
 * manta_last_error says why, when the room is not open any more (MANTA_E_STATE: it was ended or
 * given up before, or its scope has ended). */
MANTA_API manta_ref manta_put_end(manta_room room);
/* Gives a room back; no value comes of it. MANTA_E_STATE: it is not open any more. */
MANTA_API int manta_put_abandon(manta_room room);

/*
 * manta_view for arrays: waits, compares the value's layout with what is expected, and gives it in
 * place; manta_unview gives it back. expected may be NULL; in it a dtype of MANTA_DTYPE_NONE, dims
 * of MANTA_ANY_DIMS, and an extent of MANTA_ANY match anything. A value without a layout is one row
 * of what is expected, if its size allows. MANTA_E_TYPE says what was found.
 */
MANTA_API int manta_array_view(manta_ref ref, const manta_layout *expected, manta_array *ret_array);

/* Room for a variable result with a layout, as manta_outv_alloc without. Its element type must be
 * the parameter's. NULL when there is none, or the layout does not fit, as manta_last_error says.
 */
MANTA_API void *manta_outv_layout(manta_outv *out, const manta_layout *layout);

/* Inside a body: the layout of the `in` or `inout` argument that begins at `argument`.
 * MANTA_E_NOTFOUND: no argument begins there, or its value has no layout. Never blocks. */
MANTA_API int manta_layout_of(const void *argument, manta_layout *ret_layout);

#ifdef __cplusplus
}
#endif

/* ---- Typed ---------------------------------------------------------------------------------- */

/* MANTA_DTYPE(T): the manta_dtype of a C type, a constant. */
#ifdef __cplusplus
extern "C++" {
/* std::complex is known by its looks: <complex> would bring half of the library along. */
template <class T, class = void> struct manta_dtype_other_ {
    static constexpr uint32_t value = MANTA_DTYPE_BYTES;
};
template <class T> struct manta_dtype_other_<T, decltype((void)T().real(), (void)T().imag())> {
    typedef decltype(T().real()) part;
    static constexpr uint32_t value = sizeof(T) != 2 * sizeof(part)       ? MANTA_DTYPE_BYTES
                                      : std::is_same<part, float>::value  ? MANTA_DTYPE_COMPLEX64
                                      : std::is_same<part, double>::value ? MANTA_DTYPE_COMPLEX128
                                                                          : MANTA_DTYPE_BYTES;
};
template <class T> struct manta_dtype_of_ {
    static constexpr uint32_t value = !std::is_integral<T>::value ? manta_dtype_other_<T>::value
                                      : sizeof(T) > 8
                                          ? uint32_t(MANTA_DTYPE_BYTES)
                                          : (std::is_signed<T>::value ? MANTA_DTYPE_INT8
                                                                      : MANTA_DTYPE_UINT8) +
                                                (sizeof(T) > 1) + (sizeof(T) > 2) + (sizeof(T) > 4);
};
#define MANTA_DTYPE_IS_(T, name)                                                                   \
    template <> struct manta_dtype_of_<T> {                                                        \
        static constexpr uint32_t value = MANTA_DTYPE_##name;                                      \
    };
MANTA_DTYPE_IS_(char, BYTES)
MANTA_DTYPE_IS_(bool, BOOL)
MANTA_DTYPE_IS_(float, FLOAT32)
MANTA_DTYPE_IS_(double, FLOAT64)
MANTA_DTYPE_IS_(manta_float16, FLOAT16)
MANTA_DTYPE_IS_(manta_bfloat16, BFLOAT16)
#undef MANTA_DTYPE_IS_
}
#define MANTA_DTYPE(T) (manta_dtype_of_<T>::value)
#else
#define MANTA_DTYPE(T)                                                                             \
    _Generic((T *)0,                                                                               \
        _Bool *: MANTA_DTYPE_BOOL,                                                                 \
        signed char *: MANTA_DTYPE_INT8,                                                           \
        short *: MANTA_DTYPE_INT16,                                                                \
        int *: MANTA_DTYPE_INT32,                                                                  \
        long *: sizeof(long) == 8 ? MANTA_DTYPE_INT64 : MANTA_DTYPE_INT32,                         \
        long long *: MANTA_DTYPE_INT64,                                                            \
        unsigned char *: MANTA_DTYPE_UINT8,                                                        \
        unsigned short *: MANTA_DTYPE_UINT16,                                                      \
        unsigned *: MANTA_DTYPE_UINT32,                                                            \
        unsigned long *: sizeof(long) == 8 ? MANTA_DTYPE_UINT64 : MANTA_DTYPE_UINT32,              \
        unsigned long long *: MANTA_DTYPE_UINT64,                                                  \
        manta_float16 *: MANTA_DTYPE_FLOAT16,                                                      \
        manta_bfloat16 *: MANTA_DTYPE_BFLOAT16,                                                    \
        float *: MANTA_DTYPE_FLOAT32,                                                              \
        double *: MANTA_DTYPE_FLOAT64,                                                             \
        float _Complex *: MANTA_DTYPE_COMPLEX64,                                                   \
        double _Complex *: MANTA_DTYPE_COMPLEX128,                                                 \
        default: MANTA_DTYPE_BYTES)
#endif

/* The text of an element type, "float64"; never NULL. */
static inline const char *manta_dtype_name(uint32_t dtype)
{
    switch (dtype) {
#define MANTA_X(name, value, text, bytes)                                                          \
    case value:                                                                                    \
        return text;
        MANTA_DTYPE_MAP(MANTA_X)
#undef MANTA_X
    default:
        return "nothing known";
    }
}

/* Bytes of an element; 0: the layout says, or it is no element type. */
static inline uint32_t manta_dtype_bytes(uint32_t dtype)
{
    switch (dtype) {
#define MANTA_X(name, value, text, bytes)                                                          \
    case value:                                                                                    \
        return bytes;
        MANTA_DTYPE_MAP(MANTA_X)
#undef MANTA_X
    default:
        return 0;
    }
}

/* MANTA_LAYOUT(double, 3, 4): a manta_layout by value. One to eight extents. */
#define MANTA_LAYOUT(T, ...)                                                                       \
    manta_layout_(MANTA_DTYPE(T), sizeof(T), MANTA_DIMS_(__VA_ARGS__),                             \
                  MANTA_EIGHT_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0, 0))

/* The value of elements at `data`, const T *, with these extents; copied once. As manta_put. */
#define manta_put_array(T, data, ...)                                                              \
    manta_put_copy_((0 ? (const T *)0 : (data)), MANTA_LAYOUT(T, __VA_ARGS__))
/* manta_put_begin with these extents: a T *, NULL when there is no room. */
#define manta_put_alloc(T, room, ...) ((T *)manta_put_alloc_(MANTA_LAYOUT(T, __VA_ARGS__), room))
/* manta_view_array(T, ref, &array) or manta_view_array(T, ref, &array, extents ...):
 * manta_array_view of elements T, with any shape or with these extents. */
#define manta_view_array(T, ref, ...)                                                              \
    manta_view_array_(ref, MANTA_WANTED_(T, __VA_ARGS__, 0, 0, 0, 0, 0, 0, 0, 0),                  \
                      MANTA_HEAD_(__VA_ARGS__, ~), MANTA_DIMS_(__VA_ARGS__) - 1)
/* manta_outv_layout with these extents: a T *. */
#define manta_outv_array(T, out, ...) ((T *)manta_outv_array_(out, MANTA_LAYOUT(T, __VA_ARGS__)))

#define MANTA_HEAD_(first, ...) first
#define MANTA_EIGHT_(a, b, c, d, e, f, g, h, ...) a, b, c, d, e, f, g, h
#define MANTA_WANTED_(T, array, ...)                                                               \
    manta_layout_(MANTA_DTYPE(T), sizeof(T), 0, MANTA_EIGHT_(__VA_ARGS__, ~))
#define MANTA_DIMS_(...) MANTA_DIMS_NOW_(__VA_ARGS__, 9, 8, 7, 6, 5, 4, 3, 2, 1, ~)
#define MANTA_DIMS_NOW_(a, b, c, d, e, f, g, h, i, picked, ...) (picked)

static inline manta_layout manta_layout_(uint32_t dtype, size_t item_bytes, uint32_t dims,
                                         uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                                         uint64_t f, uint64_t g, uint64_t h)
{
    manta_layout layout;
    const uint64_t shape[MANTA_DIMS_MAX] = {a, b, c, d, e, f, g, h};
    layout.dtype = dtype;
    layout.item_bytes = (uint32_t)item_bytes;
    layout.dims = dims;
    layout.reserved = 0;
    for (int i = 0; i < MANTA_DIMS_MAX; i++) {
        layout.shape[i] = shape[i];
    }
    return layout;
}

/* Elements of a layout that the library has accepted. */
static inline uint64_t manta_layout_count(const manta_layout *layout)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < layout->dims; i++) {
        count *= layout->shape[i];
    }
    return count;
}

static inline void *manta_put_alloc_(manta_layout layout, manta_room *room)
{
    return manta_put_begin(&layout, room) == MANTA_OK ? room->data : NULL;
}

static inline manta_ref manta_put_copy_(const void *data, manta_layout layout)
{
    const manta_ref none = {0, 0, 0};
    manta_room room;
    if (!data && manta_layout_count(&layout)) {
        return manta_put(NULL, layout.item_bytes); /* is refused, and says why */
    }
    if (manta_put_begin(&layout, &room) != MANTA_OK) {
        return none;
    }
    if (data) {
        memcpy(room.data, data, manta_layout_count(&layout) * layout.item_bytes);
    }
    return manta_put_end(room);
}

static inline int manta_view_array_(manta_ref ref, manta_layout expected, manta_array *ret_array,
                                    uint32_t dims)
{
    expected.dims = dims ? dims : MANTA_ANY_DIMS;
    return manta_array_view(ref, &expected, ret_array);
}

static inline void *manta_outv_array_(manta_outv *out, manta_layout layout)
{
    return manta_outv_layout(out, &layout);
}

#endif
