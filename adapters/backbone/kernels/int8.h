/* A dense layer in int8: its job, and the two steps that each variant has; see int8.c. */
#pragma once

#include <stdint.h>

#define ROWS_OF_STEP 96 /* rows of a piece of `multiply`, whose bytes stay in the second cache */

#define TILE_SIZE 16    /* rows or channels of a tile */
#define TILE_DEPTH 64   /* numbers that a tile has of each */

typedef struct {
    const float *x;              /* [num_rows, depth] */
    float *out;                  /* [num_rows, width] */
    uint8_t *bytes;              /* [num_rows, depth]: x, quantised by row; room for whole tiles of rows */
    float *scales;               /* [num_rows]: x = scale (byte - zero) */
    int32_t *zeros;              /* [num_rows] */
    const int8_t *weight;        /* in blocks of channels, see quantized.py */
    const int32_t *sums;         /* [width]: of each channel's weight */
    const float *weight_scales;  /* [width] */
    const float *bias;           /* [width] */
    const int32_t *outliers;     /* [num_outliers, 2]: channel and place in the depth, ascending by channel */
    const float *outlier_weights; /* [num_outliers]: the parts of weights that int8 leaves out */
    int64_t num_outliers;
    int64_t num_rows, depth, width;
    int64_t with_gelu;
    int64_t next;    /* the first free piece of work */
    int64_t at_once; /* pieces that a thread takes at a time */
} Int8Dense;

/* Both take pieces of work until none is left; several threads may run one on a job. NULL: the compiler is too old. */
typedef struct {
    void (*quantise)(Int8Dense *);
    void (*multiply)(Int8Dense *);
} Int8Kernels;

/* `multiply` with AMX, for a depth that is a multiple of TILE_DEPTH. NULL: the assembler is too old. */
extern void (*const int8_multiply_tiles)(Int8Dense *);

extern const Int8Kernels int8_avx512, int8_avx2;
