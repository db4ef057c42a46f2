/* Adapters with the tiles of AMX: 16 rows by 16 columns at a time. The tiles of the weights are laid out once for up to
 * MAX_ROWS rows. The bias of the up-projection is one more row of it, for a factor of 1. Every segment takes this path,
 * however short: a row's result must not depend on the rows beside it. */
#pragma once

#include "bfloat16_tiles.h"

#define ROUNDED_UP(n, step) (((n) + (step) - 1) / (step) * (step))
#define MOST_SIDES ROUNDED_UP(MAX_BOTTLENECK + 1, TILE)
#define MOST_FACTORS ROUNDED_UP(MAX_BOTTLENECK + 1, DEPTH)

typedef struct {
    float sides[MAX_ROWS * MOST_SIDES];
    float factors[MAX_ROWS * MOST_FACTORS + WIDTH];
    element z[MAX_ROWS * MOST_FACTORS];
    element up[2 * TILE * MOST_FACTORS];
    element down[TILE_SIZE], rows[TILE_SIZE];
    float products[2 * TILE * DEPTH];
} __attribute__((aligned(64))) AdapterTiles;

/* The first row of a tile: the last tile of at least 16 rows overlaps the one before. */
INLINE int64_t tile_row(int64_t tile, int64_t num) { return num < TILE ? 0 : SMALLER(tile * TILE, num - TILE); }

#define PROJECT(t)                                                                \
    if (t < num_tiles) {                                                          \
        TILE_LOAD(4, h + tile_row(t, num) * hidden + k, hidden * 2);              \
        TILE_MULTIPLY_BFLOAT16(t, 4, 5);                                          \
    }
#define KEEP(t)                                                                   \
    if (t < num_tiles)                                                            \
        TILE_STORE(t, work->sides + tile_row(t, num) * width + j, width * 4);

/* sides [num, width] = h down^T; columns beyond `columns` repeat the last one. */
INLINE void project_tiles(AdapterTiles *work, const element *h, int64_t num, const element *down, int64_t columns,
                          int64_t width, int64_t hidden, Ahead *ahead)
{
    const int64_t num_tiles = (num + TILE - 1) / TILE;
    for (int64_t j = 0; j < width; j += TILE) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        for (int64_t k = 0; k < hidden; k += DEPTH) {
            vec block[WIDTH];
            fetch(ahead, 48);
            for (int i = 0; i < WIDTH; i++)
                block[i] = load_units(down + SMALLER(j + i, columns - 1) * hidden + k);
            transpose(block);
            for (int i = 0; i < WIDTH; i++)
                store((float *)work->down + i * WIDTH, block[i]);
            TILE_LOAD(5, work->down, 64);
            if (num < TILE) { /* a tile would read beyond the rows */
                for (int i = 0; i < TILE; i++)
                    memcpy(work->rows + i * DEPTH, h + SMALLER(i, num - 1) * hidden + k, 64);
                TILE_LOAD(4, work->rows, 64);
                TILE_MULTIPLY_BFLOAT16(0, 4, 5);
                continue;
            }
            PROJECT(0)
            PROJECT(1)
            PROJECT(2)
            PROJECT(3)
        }
        KEEP(0)
        KEEP(1)
        KEEP(2)
        KEEP(3)
    }
}

/* z [num, depth] = GELU of the products of sides + bias; then 1 for the bias of the up-projection, and zeros. */
INLINE void combine_tiles(AdapterTiles *work, int64_t num, int64_t p, int64_t q, const element *bias, int64_t width,
                          int64_t depth)
{
    const int64_t bottleneck = p * q;
    float biases[MOST_SIDES + WIDTH] = {0};
    for (int64_t k = 0; k < p + q; k++)
        biases[k] = number(bias + k);
    for (int64_t i = 0; i < num; i++) {
        float *sides = work->sides + i * width, *to = work->factors + i * depth;
        for (int64_t k = 0; k < width; k += WIDTH)
            store(sides + k, load(sides + k) + load(biases + k));
        for (int64_t j = 0; j < q; j++)
            for (int64_t k = 0; k < p; k += WIDTH) /* numbers written beyond p are overwritten by the next ones */
                store(to + j * p + k, sides[j] * load(sides + q + k));
        for (int64_t k = bottleneck; k < depth; k++)
            to[k] = 0.0f;
        for (int64_t k = 0; k < depth; k += DEPTH) {
            vec a = {0}, b = {0};
            if (k < bottleneck)
                a = gelu(load(to + k));
            if (k + WIDTH < bottleneck)
                b = gelu(load(to + k + WIDTH));
            store((float *)(work->z + i * depth + k), units_along(a, b));
        }
        work->z[i * depth + bottleneck] = 0x3f80;
    }
}

/* The columns of `up` [bottleneck + 1, 32] in tiles [depth / 32, 2] of pairs of rows; rows beyond are 0 already. */
INLINE void lay_out_up(element *into, const element *up, int64_t hidden, int64_t bottleneck)
{
    for (int64_t k = 0; k <= bottleneck; k += 2) {
        float *to = (float *)(into + k / DEPTH * 2 * TILE_SIZE) + k % DEPTH / 2 * WIDTH;
        vec pair[2];
        if (k < bottleneck)
            load_rows(pair, 2, up + k * hidden, hidden);
        else
            load_row(pair, up + k * hidden);
        store(to, pair[0]);
        store(to + TILE_SIZE / 2, pair[1]);
    }
}

/* h [num, hidden] += z up */
INLINE void add_tiles(AdapterTiles *work, element *h, int64_t num, int64_t hidden, const element *up, int64_t bottleneck,
                      int64_t depth, Ahead *ahead)
{
    memset(work->up + (depth - DEPTH) * 2 * TILE, 0, 2 * TILE_SIZE * sizeof(element));
    for (int64_t from = 0; from < hidden; from += DEPTH) {
        fetch(ahead, 20);
        lay_out_up(work->up, up + from, hidden, bottleneck);
        for (int64_t i = 0; i < num; i += 2 * TILE) {
            const element *z = work->z + i * depth;
            TILE_ZERO(0);
            TILE_ZERO(1);
            TILE_ZERO(2);
            TILE_ZERO(3);
            for (int64_t k = 0; k < depth; k += DEPTH) {
                const element *right = work->up + k * 2 * TILE;
                TILE_LOAD(4, z + k, depth * 2);
                TILE_LOAD(5, z + TILE * depth + k, depth * 2);
                TILE_LOAD(6, right, 64);
                TILE_LOAD(7, right + TILE_SIZE, 64);
                TILE_MULTIPLY_BFLOAT16(0, 4, 6);
                TILE_MULTIPLY_BFLOAT16(1, 4, 7);
                TILE_MULTIPLY_BFLOAT16(2, 5, 6);
                TILE_MULTIPLY_BFLOAT16(3, 5, 7);
            }
            TILE_STORE(0, work->products, DEPTH * 4);
            TILE_STORE(1, work->products + TILE, DEPTH * 4);
            TILE_STORE(2, work->products + TILE * DEPTH, DEPTH * 4);
            TILE_STORE(3, work->products + TILE * DEPTH + TILE, DEPTH * 4);
            for (int64_t r = 0; r < SMALLER(num - i, 2 * TILE); r++) {
                element *place = h + (i + r) * hidden + from;
                const float *found = work->products + r * DEPTH;
                vec a = load_element(place) + load(found), b = load_element(place + WIDTH) + load(found + WIDTH);
                store((float *)place, units_along(a, b));
            }
        }
    }
}

static void adapt(void *h, int64_t hidden, const Segment *segments, int64_t num_segments)
{
    AdapterTiles work;
    memset(work.z, 0, sizeof(work.z));
    tiles_begin();
    for (const Segment *segment = segments; segment < segments + num_segments; segment++) {
        const int64_t bottleneck = segment->p * segment->q, columns = segment->p + segment->q;
        const int64_t width = ROUNDED_UP(columns, TILE), depth = ROUNDED_UP(bottleneck + 1, DEPTH);
        const element *up = segment->up;
        if (!segment->down)
            continue;
        for (int64_t i = segment->start; i < segment->stop; i += MAX_ROWS) {
            const int64_t num = SMALLER(segment->stop - i, MAX_ROWS);
            element *rows = (element *)h + i * hidden;
            Ahead next_up = {up, up + (bottleneck + 1) * hidden}, next_down = {0, 0};
            if (segment + 1 < segments + num_segments && segment[1].down) {
                next_down.next = segment[1].down;
                next_down.end = next_down.next + (segment[1].p + segment[1].q) * hidden;
            }
            project_tiles(&work, rows, num, segment->down, columns, width, hidden, &next_up);
            combine_tiles(&work, num, segment->p, segment->q, segment->down_bias, width, depth);
            add_tiles(&work, rows, num, hidden, up, bottleneck, depth, &next_down);
        }
    }
    tiles_end();
}
