/* Vectors of the width of this variant, and the operations on them that the kernels share.
 *
 * Sums are float32 in every type. A product takes its factors in *units* of 32 bits: a float, or, with AVX512-BF16, two
 * neighbours of the sum in bfloat16, which one instruction multiplies and adds. Units lie in arrays of floats. */
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 16 /* floats in a vector */
#define ROWS 8   /* in a block of `multiply`: with two vectors per row its sums fill half of the registers */
#elif defined(__AVX2__)
#define WIDTH 8
#define ROWS 6
#else
#define WIDTH 4
#define ROWS 4
#endif
#define BLOCK_VECTORS 2

#define INLINE static inline __attribute__((always_inline))
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))

#if defined(BFLOAT16)
typedef uint16_t element; /* of a tensor: the upper half of a float */
#else
typedef float element;
#endif

#if defined(BFLOAT16) && defined(__AVX512BF16__)
#define PER_UNIT 2
#else
#define PER_UNIT 1
#endif

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));
typedef float anywhere __attribute__((vector_size(4 * WIDTH), aligned(2), may_alias));

INLINE vec load(const float *from) { return *(const anywhere *)from; }
INLINE void store(float *to, vec value) { *(anywhere *)to = value; }
INLINE vec all(float value) { return value - (vec){0}; }

/* The maximum in each lane; b if a is NaN. */
INLINE vec greater(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    ivec which = (ivec)(a > b);
    return (vec)((which & (ivec)a) | (~which & (ivec)b));
#endif
}

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
#define LANES4(f, s, i) f(i, s), f(i + 1, s), f(i + 2, s), f(i + 3, s)
#if WIDTH == 16
#define LANES(f, s) LANES4(f, s, 0), LANES4(f, s, 4), LANES4(f, s, 8), LANES4(f, s, 12)
#elif WIDTH == 8
#define LANES(f, s) LANES4(f, s, 0), LANES4(f, s, 4)
#else
#define LANES(f, s) LANES4(f, s, 0)
#endif
#define FIRST(lane, s) ((lane) & (s) ? WIDTH + (lane) - (s) : (lane))
#define SECOND(lane, s) ((lane) & (s) ? WIDTH + (lane) : (lane) + (s))

/* Pick from a and b the lanes whose number lacks bit s (WITHOUT) or has it (WITH); a's fill the lanes without bit s. */
#define LANES_WITHOUT(s, a, b) SHUFFLE(a, b, LANES(FIRST, s))
#define LANES_WITH(s, a, b) SHUFFLE(a, b, LANES(SECOND, s))

#define TRANSPOSE_STEP(s)                                   \
    for (int i = 0; i < WIDTH; i++)                         \
        if (!(i & (s))) {                                   \
            vec a = rows[i], b = rows[i + (s)];             \
            rows[i] = LANES_WITHOUT(s, a, b);               \
            rows[i + (s)] = LANES_WITH(s, a, b);            \
        }

/* rows[i][j] <-> rows[j][i] */
INLINE void transpose(vec rows[WIDTH])
{
#if WIDTH >= 16
    TRANSPOSE_STEP(8)
#endif
#if WIDTH >= 8
    TRANSPOSE_STEP(4)
#endif
    TRANSPOSE_STEP(2)
    TRANSPOSE_STEP(1)
}

#define SUM_STEP(s)                                                             \
    for (int i = 0; i < (s); i++)                                               \
        parts[i] = LANES_WITHOUT(s, parts[i], parts[i + (s)]) + LANES_WITH(s, parts[i], parts[i + (s)]);

/* [i] = the sum of the lanes of parts[i], added in the same order for each i. */
INLINE vec sums(vec parts[WIDTH])
{
#if WIDTH >= 16
    SUM_STEP(8)
#endif
#if WIDTH >= 8
    SUM_STEP(4)
#endif
    SUM_STEP(2)
    SUM_STEP(1)
    return parts[0];
}

#define ACROSS_STEP(s) v = LANES_WITHOUT(s, v, v) + LANES_WITH(s, v, v);

/* The sum of all lanes of v, in each lane. */
INLINE vec sum_of_lanes(vec v)
{
#if WIDTH >= 16
    ACROSS_STEP(8)
#endif
#if WIDTH >= 8
    ACROSS_STEP(4)
#endif
    ACROSS_STEP(2)
    ACROSS_STEP(1)
    return v;
}

#include "element.h"

/* out[i][v] = sum over k of left[i][k] right[k][v], k in steps of a unit: each unit of left, at SPREAD, multiplies whole
 * vectors of right, which GET loads.
 *
 * Callers pass constants for `rows` and `vectors`, so that `out` stays in registers. */
#define MULTIPLY(SPREAD, GET)                                                                       \
    for (int i = 0; i < rows * vectors; i++)                                                        \
        out[i] = (vec){0};                                                                          \
    for (int64_t k = 0; k < depth; k += PER_UNIT) {                                                 \
        vec of_right[BLOCK_VECTORS];                                                                \
        GET;                                                                                        \
        for (int i = 0; i < rows; i++) {                                                            \
            vec of_left = SPREAD;                                                                   \
            for (int v = 0; v < vectors; v++)                                                       \
                out[i * vectors + v] = add_product(out[i * vectors + v], of_left, of_right[v]);     \
        }                                                                                           \
    }

/* Elements on the left, [rows, depth]; on the right units, [depth / PER_UNIT, vectors * WIDTH]. */
INLINE void multiply_units(vec *out, const int rows, const int vectors, const element *left, int64_t left_row,
                           const float *right, int64_t depth)
{
    MULTIPLY(spread(left + i * left_row + k),
             for (int v = 0; v < vectors; v++) of_right[v] = load(right + (k / PER_UNIT * vectors + v) * WIDTH))
}

/* Units on the left, unit k / PER_UNIT of row i at left[i * left_row + k / PER_UNIT * left_step]; on the right elements,
 * [depth, vectors * WIDTH]. If a unit reaches beyond `depth`, its rest is 0. */
INLINE void multiply_rows(vec *out, const int rows, const int vectors, const float *left, int64_t left_row,
                          int64_t left_step, const element *right, int64_t right_row, int64_t depth)
{
    MULTIPLY(spread_unit(left + i * left_row + k / PER_UNIT * left_step),
             load_rows(of_right, vectors, right + k * right_row, k + 1 < depth ? right_row : 0))
}

/* Call `call(n)` with n, at most ROWS, as a constant. */
#define WITH_ROWS(n, call)      \
    switch (n) {                \
    case 1: call(1); break;     \
    case 2: call(2); break;     \
    case 3: call(3); break;     \
    case 4: call(4); break;     \
    case 5: call(SMALLER(5, ROWS)); break; \
    case 6: call(SMALLER(6, ROWS)); break; \
    case 7: call(SMALLER(7, ROWS)); break; \
    default: call(ROWS); break; \
    }
