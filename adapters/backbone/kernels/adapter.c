/* h += W_up GELU(W_b h (x) W_a h) + b_up for the rows of each segment, in place.
 *
 * The result for a row depends only on the row and its adapter, bit for bit. */
#include "kernels.h"
#include "vector.h"
#include "gelu.h"

#define MAX_ROWS 64                    /* of a segment, computed at a time */
#define MAX_FACTORS (32 * MAX_BOTTLENECK) /* numbers of z at a time */

#define LINE (64 / (int64_t)sizeof(element)) /* elements in a cache line */

/* A block of the down-projection has WIDTH sums, which fill one vector. */
#define DOWN_ROWS (WIDTH >= 8 ? 4 : 2)
#define DOWN_COLUMNS (WIDTH / DOWN_ROWS)

/* Memory that will be read next, prefetched into the cache a few lines at a time. */
typedef struct {
    const element *next, *end;
} Ahead;

INLINE void fetch(Ahead *ahead, int num_lines)
{
    for (int i = 0; i < num_lines && ahead->next < ahead->end; i++, ahead->next += LINE)
        __builtin_prefetch(ahead->next, 0, 2);
}

/* out [num, columns] = h down^T + bias */
static void project(float *out, const element *h, int64_t num, const element *down, const element *bias, int64_t columns,
                    int64_t hidden, Ahead ahead)
{
    for (int64_t i = 0; i < num; i += DOWN_ROWS)
        for (int64_t j = 0; j < columns; j += DOWN_COLUMNS) {
            const element *rows[DOWN_ROWS], *weights[DOWN_COLUMNS];
            vec parts[WIDTH];
            float found[WIDTH];
            for (int a = 0; a < DOWN_ROWS; a++)
                rows[a] = h + SMALLER(i + a, num - 1) * hidden;
            for (int b = 0; b < DOWN_COLUMNS; b++)
                weights[b] = down + SMALLER(j + b, columns - 1) * hidden;
            for (int n = 0; n < WIDTH; n++)
                parts[n] = (vec){0};
            for (int64_t k = 0; k < hidden; k += WIDTH * PER_UNIT) {
                vec of_h[DOWN_ROWS];
                fetch(&ahead, 2);
                for (int a = 0; a < DOWN_ROWS; a++)
                    of_h[a] = load_units(rows[a] + k);
                for (int b = 0; b < DOWN_COLUMNS; b++) {
                    vec weight = load_units(weights[b] + k);
                    for (int a = 0; a < DOWN_ROWS; a++)
                        parts[a * DOWN_COLUMNS + b] = add_product(parts[a * DOWN_COLUMNS + b], of_h[a], weight);
                }
            }
            store(found, sums(parts));
            for (int a = 0; a < DOWN_ROWS && i + a < num; a++)
                for (int b = 0; b < DOWN_COLUMNS && j + b < columns; b++)
                    out[(i + a) * columns + j + b] = found[a * DOWN_COLUMNS + b] + number(bias + j + b);
        }
}

#if defined(AMX)
#include "adapter_tiles.h"
#else

/* Units of z [num, q p], `row` floats apart before they are rounded, from b and a side by side, [num, q + p]; both arrays
 * have room for 2 WIDTH more numbers. */
static void combine(float *z, const float *sides, int64_t num, int64_t p, int64_t q, int64_t row)
{
    for (int64_t i = 0; i < num; i++) {
        for (int64_t j = 0; j < q; j++)
            for (int64_t k = 0; k < p; k += WIDTH) /* numbers written beyond p are overwritten by the next ones */
                store(z + i * row + j * p + k, sides[i * (q + p) + j] * load(sides + i * (q + p) + q + k));
        if (row > q * p)
            z[i * row + q * p] = 0.0f;
    }
    for (int64_t i = 0; i < num * row; i += WIDTH * PER_UNIT) {
        vec found = gelu(load(z + i));
#if PER_UNIT == 2
        found = units_along(found, gelu(load(z + i + WIDTH)));
#endif
        store(z + i / PER_UNIT, found);
    }
}

INLINE void add_block(element *h, int64_t hidden, const int rows, const int vectors, const float *z, int64_t row,
                      const element *up, int64_t bottleneck)
{
    vec out[ROWS * BLOCK_VECTORS];
    multiply_rows(out, rows, vectors, z, row, 1, up, hidden, bottleneck);
    for (int v = 0; v < vectors; v++) {
        vec bias = load_element(up + bottleneck * hidden + v * WIDTH);
        for (int i = 0; i < rows; i++) {
            element *place = h + i * hidden + v * WIDTH;
            store_element(place, load_element(place) + (out[i * vectors + v] + bias));
        }
    }
}

/* h [num, hidden] += z up + b_up; the units of a row of z are `row` floats apart from the next. */
static void add(element *h, int64_t num, int64_t hidden, const float *z, int64_t row, const element *up,
                int64_t bottleneck, Ahead ahead)
{
    int64_t k = 0;
    for (; k + BLOCK_VECTORS * WIDTH <= hidden; k += BLOCK_VECTORS * WIDTH)
        for (int64_t i = 0; i < num; i += ROWS) {
            fetch(&ahead, 16);
#define ADD(n) add_block(h + i * hidden + k, hidden, n, BLOCK_VECTORS, z + i * row, row, up + k, bottleneck)
            WITH_ROWS(num - i, ADD)
        }
    for (; k < hidden; k += WIDTH)
        for (int64_t i = 0; i < num; i += ROWS) {
#define ADD_ONE(n) add_block(h + i * hidden + k, hidden, n, 1, z + i * row, row, up + k, bottleneck)
            WITH_ROWS(num - i, ADD_ONE)
        }
}

static void adapt(void *h, int64_t hidden, const Segment *segments, int64_t num_segments)
{
    float sides[MAX_FACTORS + MAX_ROWS + 2 * WIDTH] __attribute__((aligned(64))); /* p + q <= p q + 1 */
    float z[MAX_FACTORS + MAX_ROWS + 2 * WIDTH] __attribute__((aligned(64)));
    for (const Segment *segment = segments; segment < segments + num_segments; segment++) {
        const int64_t bottleneck = segment->p * segment->q, units = (bottleneck + PER_UNIT - 1) / PER_UNIT;
        const int64_t width = segment->p + segment->q;
        const element *up = segment->up;
        if (!segment->down)
            continue;
        for (int64_t i = segment->start; i < segment->stop;) {
            int64_t num = SMALLER(SMALLER(segment->stop - i, MAX_ROWS), MAX_FACTORS / bottleneck);
            element *rows = (element *)h + i * hidden;
            Ahead next_up = {up, up + (bottleneck + 1) * hidden}, next_down = {0, 0};
            if (segment + 1 < segments + num_segments && segment[1].down) {
                next_down.next = segment[1].down;
                next_down.end = next_down.next + (segment[1].p + segment[1].q) * hidden;
            }
            project(sides, rows, num, segment->down, segment->down_bias, width, hidden, next_up);
            combine(z, sides, num, segment->p, segment->q, units * PER_UNIT);
            add(rows, num, hidden, z, units, up, bottleneck, next_down);
            i += num;
        }
    }
}

#endif

static void dense(float *out, const void *x, const void *weight, const void *bias, int64_t num_rows, int64_t hidden,
                  int64_t width)
{
    project(out, x, num_rows, weight, bias, width, hidden, (Ahead){0, 0});
}
