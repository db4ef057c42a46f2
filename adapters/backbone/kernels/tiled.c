/* out = activation(x W^T + bias) in bfloat16 with the tiles of AMX, sums, bias and GELU in float32.
 *
 * A block of the result is 32 rows by 32 channels: four tiles of sums, which stay in registers over the whole depth. So the
 * result for a row depends only on the row, bit for bit, whatever the number of rows and threads. The weight lies in panels
 * of 32 channels, in the order in which the tiles are loaded (tiles.py). */
#include "machine.h"

#if defined(WITH_AMX)

#include "gelu.h"
#include "tiles.h"
#include "vector.h"

#define TILE_ROWS 16
#define CHANNELS 32       /* of a panel: two tiles */
#define STEP 32           /* of the depth: numbers in a row of a tile */
#define TILE (TILE_ROWS * STEP)
#define CHUNK_BYTES (512 << 10) /* of rows that are multiplied by all panels, so that they stay in the second cache */

typedef struct {
    const uint16_t *x;      /* [num_rows, depth] */
    uint16_t *out;          /* [num_rows, width] */
    const uint16_t *weight; /* [panels, depth / STEP, 2 tiles, TILE] */
    const float *bias;      /* [panels, CHANNELS] */
    int64_t num_rows, depth, width, with_gelu;
    int64_t next;           /* the first free piece of work */
} Tiled;

/* Tiles 0 to 3 are sums, 4 and 5 rows of x, 6 and 7 weights; `lower` rows in 2, 3 and 5, which are unused if it is 0. */
static void configure(int64_t upper, int64_t lower)
{
    const int64_t rows[] = {upper, upper, lower, lower, upper, lower, TILE_ROWS, TILE_ROWS};
    TileConfig config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.rows[i] = (uint8_t)(rows[i] ? rows[i] : 1);
        config.row_bytes[i] = 2 * STEP;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

/* Sums of a block of rows and a panel that are not yet written. */
typedef struct {
    const float *sums; /* [rows, CHANNELS] */
    uint16_t *out;
    int64_t rows, written;
} Block;

typedef struct {
    const float *bias; /* [CHANNELS] */
    int64_t width;
    __mmask32 kept;    /* the panel's channels below `width` */
} Panel;

/* Write at most `rows` more rows of a block. */
INLINE void write_rows(Block *block, int64_t rows, const Panel *panel, const int with_gelu)
{
    const vec first = load(panel->bias), second = load(panel->bias + WIDTH);
    const int64_t end = SMALLER(block->rows, block->written + rows);
    for (int64_t i = block->written; i < end; i++) {
        vec a = load(block->sums + i * CHANNELS) + first, b = load(block->sums + i * CHANNELS + WIDTH) + second;
        if (with_gelu)
            a = gelu(a), b = gelu(b);
        _mm512_mask_storeu_epi16(block->out + i * panel->width, panel->kept,
                                 (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
    }
    block->written = end;
}

/* sums [rows, CHANNELS] = the products of up to 32 rows and a panel; meanwhile the block before is written, so that the
 * tiles multiply while vectors compute its GELU. */
INLINE void multiply_tiles(float *sums, const uint16_t *x, const uint16_t *weight, int64_t depth, Block *before,
                           const Panel *panel, const int has_lower, const int with_gelu)
{
    const uint16_t *lower = x + TILE_ROWS * depth;
    const int64_t steps = depth / STEP, at_once = (2 * TILE_ROWS + steps - 1) / steps;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t k = 0; k < depth; k += STEP, weight += 2 * TILE) {
        TILE_LOAD(6, weight, 2 * STEP);
        TILE_LOAD(4, x + k, 2 * depth);
        TILE_LOAD(7, weight + TILE, 2 * STEP);
        TILE_MULTIPLY_BFLOAT16(0, 4, 6);
        TILE_MULTIPLY_BFLOAT16(1, 4, 7);
        if (has_lower) {
            TILE_LOAD(5, lower + k, 2 * depth);
            TILE_MULTIPLY_BFLOAT16(2, 5, 6);
            TILE_MULTIPLY_BFLOAT16(3, 5, 7);
        }
        write_rows(before, at_once, panel, with_gelu);
    }
    TILE_STORE(0, sums, 4 * CHANNELS);
    TILE_STORE(1, sums + TILE_ROWS, 4 * CHANNELS);
    if (has_lower) {
        TILE_STORE(2, sums + TILE_ROWS * CHANNELS, 4 * CHANNELS);
        TILE_STORE(3, sums + TILE_ROWS * CHANNELS + TILE_ROWS, 4 * CHANNELS);
    }
}

/* Rows from `row` to `end`, and one panel. */
INLINE void multiply_panel(const Tiled *job, int64_t row, int64_t end, int64_t number, const int with_gelu)
{
    float sums[2][2 * TILE_ROWS * CHANNELS] __attribute__((aligned(64)));
    const uint16_t *weight = job->weight + number * CHANNELS * job->depth;
    const int64_t channel = number * CHANNELS, left = job->width - channel;
    const Panel panel = {job->bias + channel, job->width, left >= CHANNELS ? ~0u : (1u << left) - 1};
    Block before = {0};
    for (int64_t configured = 0, turn = 0; row < end; row += 2 * TILE_ROWS, turn ^= 1) {
        const int64_t rows = SMALLER(end - row, 2 * TILE_ROWS), upper = SMALLER(rows, TILE_ROWS);
        const uint16_t *x = job->x + row * job->depth;
        if (rows != configured)
            configure(upper, rows - upper);
        configured = rows;
        if (rows > TILE_ROWS)
            multiply_tiles(sums[turn], x, weight, job->depth, &before, &panel, 1, with_gelu);
        else
            multiply_tiles(sums[turn], x, weight, job->depth, &before, &panel, 0, with_gelu);
        before = (Block){sums[turn], job->out + row * job->width + channel, rows, 0};
    }
    write_rows(&before, before.rows, &panel, with_gelu);
}

static void multiply_pieces(void *of)
{
    Tiled *job = of;
    const int64_t fitting = CHUNK_BYTES / (2 * job->depth) & -(2 * TILE_ROWS);
    const int64_t chunk = fitting ? fitting : 2 * TILE_ROWS;
    const int64_t panels = (job->width + CHANNELS - 1) / CHANNELS;
    const int64_t pieces = (job->num_rows + chunk - 1) / chunk * panels;
    for (int64_t piece; (piece = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < pieces;) {
        const int64_t row = piece / panels * chunk;
        const int64_t end = SMALLER(job->num_rows, row + chunk), panel = piece % panels;
        if (job->with_gelu)
            multiply_panel(job, row, end, panel, 1);
        else
            multiply_panel(job, row, end, panel, 0);
    }
    tiles_end();
}

/* Whether this process may use the tiles; the first call asks for them. */
EXPORTED int64_t adakron_can_tile(void) { return has_bfloat16() && has_amx(); }

/* x [num_rows, depth], out [num_rows, width] in bfloat16; depth is a multiple of 32. Only if adakron_can_tile(). */
EXPORTED void adakron_tiled_dense(const void *x, void *out, const void *weight, const float *bias, int64_t num_rows,
                                  int64_t depth, int64_t width, int64_t with_gelu, int64_t num_threads)
{
    Tiled job = {x, out, weight, bias, num_rows, depth, width, with_gelu, 0};
    run_in_threads(multiply_pieces, &job, (unsigned)num_threads);
}

#else

#include <stdint.h>

EXPORTED int64_t adakron_can_tile(void) { return 0; }

#endif
