/* Vectors of the width of this variant, and the operations on them that the kernels share. */
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

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));
typedef float anywhere __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

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

/* out[i][v] = sum over k of left[i][k] right[k][v]; each number of left multiplies a whole vector of right.
 *
 * Callers pass constants for `rows` and `vectors`, so that `out` stays in registers. */
INLINE void multiply(vec *out, const int rows, const int vectors, const float *left, int64_t left_row, int64_t left_step,
                     const float *right, int64_t right_step, int64_t depth)
{
    for (int i = 0; i < rows * vectors; i++)
        out[i] = (vec){0};
    for (int64_t k = 0; k < depth; k++) {
        vec of_right[BLOCK_VECTORS];
        for (int v = 0; v < vectors; v++)
            of_right[v] = load(right + k * right_step + v * WIDTH);
        for (int i = 0; i < rows; i++) {
            vec of_left = all(left[i * left_row + k * left_step]);
            for (int v = 0; v < vectors; v++)
                out[i * vectors + v] += of_left * of_right[v];
        }
    }
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

#define JOIN_NAMES(a, b) a##_##b
#define NAME_IN(variant, name) JOIN_NAMES(name, variant)
#define NAMED(name) NAME_IN(VARIANT, name)
