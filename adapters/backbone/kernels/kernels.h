/* The kernels of the library, compiled once for every type of tensors and every variant; see dispatch.c. */
#pragma once

#include <stdint.h>

#define MAX_LENGTH 512     /* tokens of a sequence */
#define MAX_HEAD_SIZE 128
#define MAX_BOTTLENECK 512 /* p q */

/* Tensors behind `void *` have the type of the kernels: float32 or bfloat16. */
typedef struct {
    const void *qkv;           /* [rows, 3 H]: queries, keys, values side by side, H = num_heads head_size */
    void *out;                 /* [rows, H] */
    const int64_t *first_rows; /* [num_sequences] */
    const int64_t *lengths;    /* [num_sequences] */
    int64_t num_sequences, num_heads, head_size;
    int64_t next;              /* the first free one of num_sequences * num_heads pieces of work */
    int64_t at_once;           /* pieces that a thread takes at a time */
} Attention;

typedef struct {
    int64_t start, stop;   /* the segment's rows */
    int64_t p, q;
    const void *down;      /* [q + p, H]: W_b above W_a; NULL: no adapter in this layer */
    const void *down_bias; /* [q + p] */
    const void *up;        /* [p q + 1, H]: W_up transposed, b_up below it */
} Segment;

typedef struct {
    const float *weight, *bias; /* [hidden] */
    int64_t hidden;
    float eps;
} Norm;

typedef struct {
    /* Takes pieces of work until none is left; several threads may run it on one job. */
    void (*attend)(Attention *);

    /* h [rows, H] += the adapter of each segment, in place. */
    void (*adapt)(void *h, int64_t hidden, const Segment *segments, int64_t num_segments);

    /* x [num_rows, hidden] = norm(x + residual), in place; in bfloat16 the residual becomes the same, not rounded. */
    void (*add_and_norm)(void *x, float *residual, const Norm *norm, int64_t num_rows);

    /* out [num_sequences, hidden] = the mean of each sequence's rows of h, in float32. */
    void (*mean)(float *out, const void *h, const int64_t *first_rows, const int64_t *lengths, int64_t num_sequences,
                 int64_t hidden);

    /* out [num_rows, width] = x weight^T + bias; x [num_rows, hidden], weight [width, hidden], bias of the kernels' type. */
    void (*dense)(float *out, const void *x, const void *weight, const void *bias, int64_t num_rows, int64_t hidden,
                  int64_t width);
} Kernels;
