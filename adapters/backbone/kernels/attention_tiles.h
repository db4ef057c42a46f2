/* Attention with the tiles of AMX: the products in tiles of 16 by 16, the softmax in float32 between them.
 *
 * Queries are read where they lie. Keys and values are laid out once for a sequence and head, as the right sides of
 * products: pairs of numbers that follow each other in the sum side by side. The weights of a query are summed by a
 * product, too, with a tile of ones, so that they are divided by the sum of what multiplies the values. */
#pragma once

#include "bfloat16_tiles.h"

#define LEAST_LENGTH 14  /* of sequences for which tiles are faster than vectors */

typedef struct {
    element keys[MAX_LENGTH * MAX_HEAD_SIZE];   /* tiles [d / 32, length / 16] */
    element values[MAX_LENGTH * MAX_HEAD_SIZE]; /* tiles [length / 32, d / 16] */
    element queries[TILE * MAX_HEAD_SIZE];
    element weights[TILE * MAX_LENGTH];
    float scores[TILE * MAX_LENGTH];
    float sums[TILE * TILE], products[TILE * DEPTH];
} __attribute__((aligned(64))) Tiles;

static void begin_attention(void)
{
    element ones[TILE_SIZE];
    for (int i = 0; i < TILE_SIZE; i++)
        ones[i] = 0x3f80;
    tiles_begin();
    TILE_LOAD(7, ones, 64);
}
static void end_attention(void) { tiles_end(); }

/* keys [length, d] -> their transpose, in tiles; keys beyond `length`, up to `padded`, repeat the last one. */
INLINE void lay_out_keys(element *into, const element *keys, int64_t row, int64_t length, int64_t padded, int64_t d)
{
    for (int64_t from = 0; from < d; from += DEPTH)
        for (int64_t j = 0; j < padded; j += TILE, into += TILE_SIZE) {
            vec block[WIDTH];
            for (int i = 0; i < WIDTH; i++)
                block[i] = load_units(keys + SMALLER(j + i, length - 1) * row + from);
            transpose(block);
            for (int i = 0; i < WIDTH; i++)
                store((float *)into + i * WIDTH, block[i]);
        }
}

/* values [length, d] -> tiles of pairs of rows; values beyond `length` are 0. */
INLINE void lay_out_values(element *into, const element *values, int64_t row, int64_t length, int64_t padded, int64_t d)
{
    for (int64_t j = 0; j < padded; j += 2)
        for (int64_t from = 0; from < d; from += DEPTH) {
            float *to = (float *)(into + (j / DEPTH * (d / TILE) + from / TILE) * TILE_SIZE) + j % DEPTH / 2 * WIDTH;
            vec pair[2] = {(vec){0}, (vec){0}};
            if (j + 1 < length)
                load_rows(pair, 2, values + j * row + from, row);
            else if (j < length)
                load_row(pair, values + j * row + from);
            store(to, pair[0]);
            store(to + TILE_SIZE / 2, pair[1]);
        }
}

/* scores [16, padded] = queries keys^T */
INLINE void score_tiles(Tiles *work, const element *queries, int64_t row, int64_t padded, int64_t d)
{
    for (int64_t j = 0; j < padded; j += 2 * TILE) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        for (int64_t from = 0; from < d; from += DEPTH) {
            const element *keys = work->keys + (from / DEPTH * (padded / TILE) + j / TILE) * TILE_SIZE;
            TILE_LOAD(4, queries + from, row * 2);
            TILE_LOAD(5, keys, 64);
            TILE_LOAD(6, keys + TILE_SIZE, 64);
            TILE_MULTIPLY_BFLOAT16(0, 4, 5);
            TILE_MULTIPLY_BFLOAT16(1, 4, 6);
        }
        TILE_STORE(0, work->scores + j, padded * 4);
        TILE_STORE(1, work->scores + j + TILE, padded * 4);
    }
}

#define GREATEST_STEP(s)                                                                                    \
    for (int i = 0; i < (s); i++)                                                                           \
        rows[i] = greater(LANES_WITHOUT(s, rows[i], rows[i + (s)]), LANES_WITH(s, rows[i], rows[i + (s)]));

/* weights [16, padded] = the exponentials of the scores beside each row's greatest; 0 for keys beyond `length`. */
INLINE void weigh_tiles(Tiles *work, int64_t length, int64_t padded, float scale)
{
    const ivec lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float greatest[WIDTH];
    vec rows[WIDTH];
    for (int i = 0; i < TILE; i++) {
        const float *from = work->scores + i * padded;
        rows[i] = greater(load(from), load(from + WIDTH));
        for (int64_t j = DEPTH; j < padded; j += WIDTH)
            rows[i] = greater(load(from + j), rows[i]);
    }
    GREATEST_STEP(8)
    GREATEST_STEP(4)
    GREATEST_STEP(2)
    GREATEST_STEP(1)
    store(greatest, rows[0]);
    for (int i = 0; i < TILE; i++) {
        const float *from = work->scores + i * padded;
        const vec most = all(greatest[i]);
        for (int64_t j = 0; j < padded; j += DEPTH) {
            vec a = exp2_of((load(from + j) - most) * scale), b = exp2_of((load(from + j + WIDTH) - most) * scale);
            if (j + DEPTH > length) {
                a = (vec)((ivec)a & (lanes < (int32_t)(length - j)));
                b = (vec)((ivec)b & (lanes < (int32_t)(length - j - WIDTH)));
            }
            store((float *)(work->weights + i * padded + j), units_along(a, b));
        }
    }
}

/* to [num, d] = weights values, divided by the weights' sums */
INLINE void multiply_values(Tiles *work, element *to, int64_t hidden, int64_t num, int64_t padded, int64_t d)
{
    float inverse[TILE];
    for (int64_t from = 0; from < d; from += DEPTH) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        for (int64_t j = 0; j < padded; j += DEPTH) {
            const element *values = work->values + (j / DEPTH * (d / TILE) + from / TILE) * TILE_SIZE;
            TILE_LOAD(4, work->weights + j, padded * 2);
            TILE_LOAD(5, values, 64);
            TILE_LOAD(6, values + TILE_SIZE, 64);
            TILE_MULTIPLY_BFLOAT16(0, 4, 5);
            TILE_MULTIPLY_BFLOAT16(1, 4, 6);
            if (!from)
                TILE_MULTIPLY_BFLOAT16(2, 4, 7);
        }
        TILE_STORE(0, work->products, DEPTH * 4);
        TILE_STORE(1, work->products + TILE, DEPTH * 4);
        if (!from) {
            TILE_STORE(2, work->sums, TILE * 4);
            for (int i = 0; i < TILE; i++)
                inverse[i] = 1.0f / work->sums[i * TILE];
        }
        for (int64_t i = 0; i < num; i++) {
            const float *found = work->products + i * DEPTH;
            vec a = load(found) * inverse[i], b = load(found + WIDTH) * inverse[i];
            store((float *)(to + i * hidden + from), units_along(a, b));
        }
    }
}

/* Attention of one sequence and head. If the length is no multiple of 16, the last queries are computed twice. */
static void attend_in_tiles(const Attention *job, int64_t sequence, int64_t head)
{
    const int64_t hidden = job->num_heads * job->head_size, row = 3 * hidden, d = job->head_size;
    const int64_t first = job->first_rows[sequence], length = job->lengths[sequence];
    const int64_t padded = (length + DEPTH - 1) / DEPTH * DEPTH, num = SMALLER(length, TILE);
    const element *queries = (const element *)job->qkv + first * row + head * d;
    element *to = (element *)job->out + first * hidden + head * d;
    Tiles work;
    lay_out_keys(work.keys, queries + hidden, row, length, padded, d);
    lay_out_values(work.values, queries + 2 * hidden, row, length, padded, d);
    for (int64_t i = 0; i < length; i += TILE) {
        const int64_t at = SMALLER(i, length - num);
        if (num < TILE) { /* a tile would read beyond the sequence */
            for (int64_t k = 0; k < TILE; k++)
                memcpy(work.queries + k * d, queries + SMALLER(k, num - 1) * row, (size_t)d * sizeof(element));
            score_tiles(&work, work.queries, d, padded, d);
        } else {
            score_tiles(&work, queries + at * row, row, padded, d);
        }
        weigh_tiles(&work, length, padded, 1.44269504f / sqrtf((float)d));
        multiply_values(&work, to + at * hidden, hidden, num, padded, d);
    }
}
