/* out = activation(x W^T + bias) with products of bytes: W in int8 with a scale for each channel, x quantised
 * here with a scale and a zero for each row.
 *
 * Weights that are far larger than their channel's others stay in float32 in part: they are few. Products of bytes are
 * exact sums of integers, and a row is quantised by its own numbers: the result for a row depends only on the
 * row, bit for bit, whatever the number of rows and threads. NaN or infinity in a row makes all its results NaN. */
#include "int8_out.h"

#include <math.h>

#define JOIN(a, b) a##_##b
#define NAME(variant) JOIN(int8, variant)

#if defined(WITHOUT_INSTRUCTION)

const Int8Kernels NAME(VARIANT) = {0, 0};

#else

#define INT8_ROWS 6    /* of a block of `multiply`, whose sums fill three quarters of the registers */
#define INT8_VECTORS (WIDTH == 16 ? 4 : 2)
#define QUANTISED_ROWS 16 /* of a piece of `quantise` */
#define LEAST_SCALE 1e-35f /* below it a row is 0 */
#define TO_INTEGER 12582912.0f /* 1.5 * 2^23: the lowest bits of a small number added to it are the rounded number */

#define ACROSS(s) v = greater(LANES_WITHOUT(s, v, v), LANES_WITH(s, v, v));

/* The greatest lane of v, in each lane. */
INLINE vec greatest_of_lanes(vec v)
{
#if WIDTH >= 16
    ACROSS(8)
#endif
    ACROSS(4)
    ACROSS(2)
    ACROSS(1)
    return v;
}

typedef uint8_t byte_vec __attribute__((vector_size(WIDTH)));
typedef uint8_t bytes_anywhere __attribute__((vector_size(WIDTH), aligned(1), may_alias));

static void quantise_row(const float *x, int64_t depth, uint8_t *bytes, float *scale, int32_t *zero)
{
    vec most = {0}, least = {0}, not_finite = {0}; /* 0 is always in the range */
    for (int64_t k = 0; k < depth; k += WIDTH) {
        vec of_x = load(x + k);
        most = greater(of_x, most);
        least = greater(-of_x, least);
        not_finite += of_x * 0.0f;
    }
    const float from_zero = greatest_of_lanes(least)[0], range = greatest_of_lanes(most)[0] + from_zero;
    *scale = range / 255.0f + sum_of_lanes(not_finite)[0];
    const float inverse = *scale > LEAST_SCALE ? 1.0f / *scale : 0.0f; /* 0, too, if the scale is NaN */
    const float of_zero = rintf(from_zero * inverse);
    *zero = (int32_t)of_zero;
    for (int64_t k = 0; k < depth; k += WIDTH) {
        vec number = load(x + k) * inverse + of_zero;
        number = -greater(-greater(number, all(0.0f)), all(-255.0f));
        *(bytes_anywhere *)(bytes + k) = __builtin_convertvector((ivec)(number + TO_INTEGER) & 255, byte_vec);
    }
}

static void quantise(Int8Dense *job)
{
    for (int64_t first; (first = take(job) * QUANTISED_ROWS) < job->num_rows;) {
        const int64_t end = SMALLER(job->num_rows, first + job->at_once * QUANTISED_ROWS);
        for (int64_t i = first; i < end; i++)
            quantise_row(job->x + i * job->depth, job->depth, job->bytes + i * job->depth, job->scales + i,
                         job->zeros + i);
    }
}

/* sum + the products of four neighbours in each lane, without saturation. As assembler: compilers keep the sums of a
 * block in registers then, and need no flag for the instruction. */
INLINE ivec add_products(ivec sum, ivec bytes, ivec weights)
{
#if WIDTH == 16
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(bytes), "x"(weights));
#endif
    return sum;
}

/* Rows from `row` on, channels from `channel` on. */
INLINE void multiply_block(const Int8Dense *job, int64_t row, const int rows, int64_t channel, const int vectors)
{
    const int64_t depth = job->depth;
    const uint8_t *bytes = job->bytes + row * depth;
    const int8_t *weight = job->weight + channel * depth;
    ivec sums[INT8_ROWS * 4];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sums[i] = (ivec){0};
    for (int64_t k = 0; k < depth; k += BYTES, weight += vectors * BYTES * WIDTH) {
        ivec of_weight[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            of_weight[v] = load_ints(weight + v * BYTES * WIDTH);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            int32_t four;
            memcpy(&four, bytes + i * depth + k, sizeof(four));
            ivec of_row = four - (ivec){0};
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sums[i * vectors + v] = add_products(sums[i * vectors + v], of_row, of_weight[v]);
        }
    }
    float *out = job->out + row * job->width + channel;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const Channels channels = channels_from(job, channel + v * WIDTH);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++)
            store(out + i * job->width + v * WIDTH, in_float32(job, row + i, sums[i * vectors + v], channels));
    }
    finish(job, row, rows, channel, vectors * WIDTH);
}

#define MULTIPLY_ROWS(n) \
    case n: multiply_block(job, row, n, channel, vectors); break;

INLINE void multiply_panel(const Int8Dense *job, int64_t row, int64_t end, int64_t channel, const int vectors)
{
    for (; row < end; row += INT8_ROWS)
        switch (SMALLER(end - row, INT8_ROWS)) {
            MULTIPLY_ROWS(1)
            MULTIPLY_ROWS(2)
            MULTIPLY_ROWS(3)
            MULTIPLY_ROWS(4)
            MULTIPLY_ROWS(5)
            MULTIPLY_ROWS(6)
        }
}

static void multiply_pieces(Int8Dense *job)
{
    const int64_t block = INT8_VECTORS * WIDTH, whole = job->width / block;
    const int64_t blocks = whole + (job->width - whole * block) / WIDTH; /* the last ones of one vector each */
    const int64_t pieces = (job->num_rows + ROWS_OF_STEP - 1) / ROWS_OF_STEP * blocks;
    for (int64_t first; (first = take(job)) < pieces;)
        for (int64_t piece = first; piece < SMALLER(pieces, first + job->at_once); piece++) {
            const int64_t row = piece / blocks * ROWS_OF_STEP, end = SMALLER(job->num_rows, row + ROWS_OF_STEP);
            const int64_t number = piece % blocks;
            if (number < whole)
                multiply_panel(job, row, end, number * block, INT8_VECTORS);
            else
                multiply_panel(job, row, end, whole * block + (number - whole) * WIDTH, 1);
        }
}

const Int8Kernels NAME(VARIANT) = {quantise, multiply_pieces};

#endif
