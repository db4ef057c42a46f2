/* h += W_up GELU(W_b h (x) W_a h) + b_up for the rows of each segment, in place.
 *
 * The result for a row depends only on the row and its adapter, bit for bit. */
#include "kernels.h"
#include "vector.h"

#define MAX_ROWS 64                    /* of a segment, computed at a time */
#define MAX_FACTORS (32 * MAX_BOTTLENECK) /* numbers of z at a time */

#define LINE 16 /* floats in a cache line */

/* A block of the down-projection has WIDTH sums, which fill one vector. */
#define DOWN_ROWS (WIDTH >= 8 ? 4 : 2)
#define DOWN_COLUMNS (WIDTH / DOWN_ROWS)

/* erf(x) within 2e-7: a quotient of polynomials, up to the x from which erf is 1 in float32. */
INLINE vec erf_of(vec x)
{
    const vec most = all(3.9192059f);
    x = greater(-most, -greater(-most, -x)); /* in this form NaN stays NaN */
    vec y = x * x;
    vec above = all(-2.72614225801306e-10f);
    above = above * y + 2.77068142495902e-08f;
    above = above * y + -2.10102402082508e-06f;
    above = above * y + -5.69250639462346e-05f;
    above = above * y + -7.34990630326855e-04f;
    above = above * y + -2.95459980854025e-03f;
    above = above * y + -1.60960333262415e-02f;
    vec below = all(-1.45660718464996e-05f);
    below = below * y + -2.13374055278905e-04f;
    below = below * y + -1.68282697438203e-03f;
    below = below * y + -7.37332916720468e-03f;
    below = below * y + -1.42647390514189e-02f;
    return x * above / below;
}

INLINE vec gelu(vec x) { return x * (0.5f + 0.5f * erf_of(x * 0.70710678f)); }

/* Memory that will be read next, prefetched into the cache a few lines at a time. */
typedef struct {
    const float *next, *end;
} Ahead;

INLINE void fetch(Ahead *ahead, int num_lines)
{
    for (int i = 0; i < num_lines && ahead->next < ahead->end; i++, ahead->next += LINE)
        __builtin_prefetch(ahead->next, 0, 2);
}

/* out [num, columns] = h down^T + bias */
static void project(float *out, const float *h, int64_t num, const float *down, const float *bias, int64_t columns,
                    int64_t hidden, Ahead ahead)
{
    for (int64_t i = 0; i < num; i += DOWN_ROWS)
        for (int64_t j = 0; j < columns; j += DOWN_COLUMNS) {
            const float *rows[DOWN_ROWS], *weights[DOWN_COLUMNS];
            vec parts[WIDTH];
            float found[WIDTH];
            for (int a = 0; a < DOWN_ROWS; a++)
                rows[a] = h + SMALLER(i + a, num - 1) * hidden;
            for (int b = 0; b < DOWN_COLUMNS; b++)
                weights[b] = down + SMALLER(j + b, columns - 1) * hidden;
            for (int n = 0; n < WIDTH; n++)
                parts[n] = (vec){0};
            for (int64_t k = 0; k < hidden; k += WIDTH) {
                vec of_h[DOWN_ROWS];
                fetch(&ahead, 2);
                for (int a = 0; a < DOWN_ROWS; a++)
                    of_h[a] = load(rows[a] + k);
                for (int b = 0; b < DOWN_COLUMNS; b++) {
                    vec weight = load(weights[b] + k);
                    for (int a = 0; a < DOWN_ROWS; a++)
                        parts[a * DOWN_COLUMNS + b] += of_h[a] * weight;
                }
            }
            store(found, sums(parts));
            for (int a = 0; a < DOWN_ROWS && i + a < num; a++)
                for (int b = 0; b < DOWN_COLUMNS && j + b < columns; b++)
                    out[(i + a) * columns + j + b] = found[a * DOWN_COLUMNS + b] + bias[j + b];
        }
}

/* z [num, q p] from b and a side by side, [num, q + p]; both arrays have room for WIDTH more numbers. */
static void combine(float *z, const float *sides, int64_t num, int64_t p, int64_t q)
{
    for (int64_t i = 0; i < num; i++)
        for (int64_t j = 0; j < q; j++)
            for (int64_t k = 0; k < p; k += WIDTH) /* numbers written beyond p are overwritten by the next ones */
                store(z + (i * q + j) * p + k, sides[i * (q + p) + j] * load(sides + i * (q + p) + q + k));
    for (int64_t i = 0; i < num * q * p; i += WIDTH)
        store(z + i, gelu(load(z + i)));
}

INLINE void add_block(float *h, int64_t hidden, const int rows, const int vectors, const float *z, const float *up,
                      int64_t bottleneck)
{
    vec out[ROWS * BLOCK_VECTORS];
    multiply(out, rows, vectors, z, bottleneck, 1, up, hidden, bottleneck);
    for (int v = 0; v < vectors; v++) {
        vec bias = load(up + bottleneck * hidden + v * WIDTH);
        for (int i = 0; i < rows; i++) {
            float *place = h + i * hidden + v * WIDTH;
            store(place, load(place) + (out[i * vectors + v] + bias));
        }
    }
}

/* h [num, hidden] += z up + b_up */
static void add(float *h, int64_t num, int64_t hidden, const float *z, const float *up, int64_t bottleneck, Ahead ahead)
{
    int64_t k = 0;
    for (; k + BLOCK_VECTORS * WIDTH <= hidden; k += BLOCK_VECTORS * WIDTH)
        for (int64_t i = 0; i < num; i += ROWS) {
            fetch(&ahead, 16);
#define ADD(n) add_block(h + i * hidden + k, hidden, n, BLOCK_VECTORS, z + i * bottleneck, up + k, bottleneck)
            WITH_ROWS(num - i, ADD)
        }
    for (; k < hidden; k += WIDTH)
        for (int64_t i = 0; i < num; i += ROWS) {
#define ADD_ONE(n) add_block(h + i * hidden + k, hidden, n, 1, z + i * bottleneck, up + k, bottleneck)
            WITH_ROWS(num - i, ADD_ONE)
        }
}

void NAMED(adapt)(float *h, int64_t hidden, const Segment *segments, int64_t num_segments)
{
    float sides[MAX_FACTORS + MAX_ROWS + WIDTH] __attribute__((aligned(64))); /* p + q <= p q + 1 */
    float z[MAX_FACTORS + WIDTH] __attribute__((aligned(64)));
    for (const Segment *segment = segments; segment < segments + num_segments; segment++) {
        const int64_t bottleneck = segment->p * segment->q;
        if (!segment->down)
            continue;
        for (int64_t i = segment->start; i < segment->stop;) {
            int64_t num = SMALLER(SMALLER(segment->stop - i, MAX_ROWS), MAX_FACTORS / bottleneck);
            float *rows = h + i * hidden;
            Ahead up = {segment->up, segment->up + (bottleneck + 1) * hidden}, down = {0, 0};
            if (segment + 1 < segments + num_segments && segment[1].down)
                down = (Ahead){segment[1].down, segment[1].down + (segment[1].p + segment[1].q) * hidden};
            project(sides, rows, num, segment->down, segment->down_bias, segment->p + segment->q, hidden, up);
            combine(z, sides, num, segment->p, segment->q);
            add(rows, num, hidden, z, segment->up, bottleneck, down);
            i += num;
        }
    }
}
