/* The product of int8.c with AMX: 16 rows of 64 bytes by 64 bytes of 16 channels in one instruction. It reads the same
 * weights, and gives the same bits. */
#include "int8_out.h"
#include "tiles.h"

#if defined(WITHOUT_INSTRUCTION)

void (*const int8_multiply_tiles)(Int8Dense *) = 0;

#else

#define CHANNELS_OF_BLOCK 64 /* in the layout of the weights for vectors of 16 lanes */
#define TILES 2              /* of rows, and of channels, whose four sums are computed together */
#define SIDE (TILES * TILE_SIZE)

/* sums [SIDE, SIDE] = bytes [.., depth] times weights, whose rows of BYTES neighbours lie `step` bytes apart. */
INLINE void multiply_tiles(int32_t *sums, const uint8_t *bytes, const int8_t *weight, int64_t depth, int64_t step,
                           const int row_tiles, const int channel_tiles)
{
    const uint8_t *below = bytes + TILE_SIZE * depth;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t k = 0; k < depth; k += TILE_DEPTH, weight += TILE_DEPTH / BYTES * step) {
        TILE_LOAD(4, bytes + k, depth);
        TILE_LOAD(6, weight, step);
        TILE_MULTIPLY_BYTES(0, 4, 6);
        if (channel_tiles > 1) {
            TILE_LOAD(7, weight + TILE_SIZE * BYTES, step);
            TILE_MULTIPLY_BYTES(1, 4, 7);
        }
        if (row_tiles > 1) {
            TILE_LOAD(5, below + k, depth);
            TILE_MULTIPLY_BYTES(2, 5, 6);
            if (channel_tiles > 1)
                TILE_MULTIPLY_BYTES(3, 5, 7);
        }
    }
    TILE_STORE(0, sums, SIDE * sizeof(*sums));
    if (channel_tiles > 1)
        TILE_STORE(1, sums + TILE_SIZE, SIDE * sizeof(*sums));
    if (row_tiles > 1)
        TILE_STORE(2, sums + TILE_SIZE * SIDE, SIDE * sizeof(*sums));
    if (row_tiles > 1 && channel_tiles > 1)
        TILE_STORE(3, sums + TILE_SIZE * SIDE + TILE_SIZE, SIDE * sizeof(*sums));
}

/* At most SIDE rows from `row` on, SIDE or TILE_SIZE channels from `channel` on. */
INLINE void multiply_block(const Int8Dense *job, int64_t row, int64_t rows, int64_t channel, const int8_t *weight,
                           int64_t step, const int channel_tiles)
{
    int32_t sums[SIDE * SIDE] __attribute__((aligned(64)));
    const uint8_t *bytes = job->bytes + row * job->depth;
    if (rows > TILE_SIZE)
        multiply_tiles(sums, bytes, weight, job->depth, step, 2, channel_tiles);
    else
        multiply_tiles(sums, bytes, weight, job->depth, step, 1, channel_tiles);
    float *out = job->out + row * job->width + channel;
    for (int v = 0; v < channel_tiles; v++) {
        const Channels channels = channels_from(job, channel + v * WIDTH);
        for (int64_t i = 0; i < rows; i++)
            store(out + i * job->width + v * WIDTH,
                  in_float32(job, row + i, load_ints(sums + i * SIDE + v * WIDTH), channels));
    }
    finish(job, row, (int)rows, channel, channel_tiles * TILE_SIZE);
}

static void multiply(Int8Dense *job)
{
    const int64_t whole = job->width / CHANNELS_OF_BLOCK * CHANNELS_OF_BLOCK;
    const int64_t blocks = (whole / SIDE) + (job->width - whole) / TILE_SIZE;
    const int64_t pieces = (job->num_rows + ROWS_OF_STEP - 1) / ROWS_OF_STEP * blocks;
    tiles_begin();
    for (int64_t first; (first = take(job)) < pieces;)
        for (int64_t piece = first; piece < SMALLER(pieces, first + job->at_once); piece++) {
            const int64_t start = piece / blocks * ROWS_OF_STEP, end = SMALLER(job->num_rows, start + ROWS_OF_STEP);
            const int64_t number = piece % blocks, channel = number * SIDE;
            const int64_t single = whole + (number - whole / SIDE) * TILE_SIZE;
            const int64_t block = channel / CHANNELS_OF_BLOCK * CHANNELS_OF_BLOCK;
            for (int64_t row = start; row < end; row += SIDE)
                if (channel < whole)
                    multiply_block(job, row, SMALLER(end - row, SIDE), channel,
                                   job->weight + block * job->depth + (channel - block) * BYTES,
                                   CHANNELS_OF_BLOCK * BYTES, 2);
                else
                    multiply_block(job, row, SMALLER(end - row, SIDE), single, job->weight + single * job->depth,
                                   TILE_SIZE * BYTES, 1);
        }
    tiles_end();
}

void (*const int8_multiply_tiles)(Int8Dense *) = multiply;

#endif
