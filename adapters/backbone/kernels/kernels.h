/* The kernels of the library; each is compiled once for every variant, see dispatch.c. */
#pragma once

#include <stdint.h>

#define MAX_LENGTH 512     /* tokens of a sequence */
#define MAX_HEAD_SIZE 128
#define MAX_BOTTLENECK 512 /* p q */

typedef struct {
    const float *qkv;          /* [rows, 3 H]: queries, keys, values side by side, H = num_heads head_size */
    float *out;                /* [rows, H] */
    const int64_t *first_rows; /* [num_sequences] */
    const int64_t *lengths;    /* [num_sequences] */
    int64_t num_sequences, num_heads, head_size;
    int64_t next;              /* the first free one of num_sequences * num_heads pieces of work */
    int64_t at_once;           /* pieces that a thread takes at a time */
} Attention;

typedef struct {
    int64_t start, stop;    /* the segment's rows */
    int64_t p, q;
    const float *down;      /* [q + p, H]: W_b above W_a; NULL: no adapter in this layer */
    const float *down_bias; /* [q + p] */
    const float *up;        /* [p q + 1, H]: W_up transposed, b_up below it */
} Segment;

typedef struct {
    const float *weight, *bias; /* [hidden] */
    int64_t hidden;
    float eps;
} Norm;

/* Takes pieces of work until none is left; several threads may run it on one job. */
typedef void attend(Attention *);

/* h [rows, H] += the adapter of each segment, in place. */
typedef void adapt(float *h, int64_t hidden, const Segment *segments, int64_t num_segments);

/* x [num_rows, hidden] = norm(x + residual), in place; residual may be NULL. */
typedef void add_and_norm(float *x, const float *residual, const Norm *norm, int64_t num_rows);

attend attend_avx512, attend_avx2, attend_plain;
adapt adapt_avx512, adapt_avx2, adapt_plain;
add_and_norm add_and_norm_avx512, add_and_norm_avx2, add_and_norm_plain;
