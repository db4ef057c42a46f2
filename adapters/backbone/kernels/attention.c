/* softmax(Q K^T / sqrt(d)) V of each sequence and head, on packed rows, without copies.
 *
 * The scores of up to two vectors of queries are stored transposed, one row for each key: so maximum and sum are computed
 * on whole vectors, and the products need no sum across lanes. The result for a query depends only on its own sequence,
 * bit for bit. */
#include "kernels.h"
#include "vector.h"
#include "exp2.h"

#include <math.h>

#if defined(AMX)
#include "attention_tiles.h"
#endif

/* queries [num, d] -> units [d / PER_UNIT, vectors * WIDTH]; columns beyond `num` repeat the last query. */
INLINE void transpose_queries(float *into, const int vectors, const element *queries, int64_t row, int64_t num,
                              int64_t head_size)
{
    for (int v = 0; v < vectors; v++)
        for (int64_t from = 0; from < head_size / PER_UNIT; from += WIDTH) {
            vec block[WIDTH];
            for (int i = 0; i < WIDTH; i++)
                block[i] = load_units(queries + SMALLER(v * WIDTH + i, num - 1) * row + from * PER_UNIT);
            transpose(block);
            for (int i = 0; i < WIDTH; i++)
                store(into + ((from + i) * vectors + v) * WIDTH, block[i]);
        }
}

INLINE void score(float *scores, vec *greatest, const int rows, const int vectors, const element *keys, int64_t row,
                  const float *queries, int64_t head_size)
{
    vec out[ROWS * BLOCK_VECTORS];
    multiply_units(out, rows, vectors, keys, row, queries, head_size);
    for (int i = 0; i < rows * vectors; i++) {
        greatest[i % vectors] = greater(out[i], greatest[i % vectors]);
        store(scores + i * WIDTH, out[i]);
    }
}

/* scores [length, vectors * WIDTH] -> units of the weights, [length / PER_UNIT rounded up, vectors * WIDTH], in place;
 * total = the sum of the weights. */
INLINE void weights_of(float *scores, vec *total, const int vectors, const vec *greatest, float scale, int64_t length)
{
    for (int v = 0; v < vectors; v++)
        total[v] = (vec){0};
    for (int64_t j = 0; j < length; j += PER_UNIT)
        for (int v = 0; v < vectors; v++) {
            const float *from = scores + (j * vectors + v) * WIDTH;
            vec weight = exp2_of((load(from) - greatest[v]) * scale);
            total[v] += weight;
#if PER_UNIT == 2
            vec next = (vec){0};
            if (j + 1 < length) {
                next = exp2_of((load(from + vectors * WIDTH) - greatest[v]) * scale);
                total[v] += next;
            }
            weight = units_across(weight, next);
#endif
            store(scores + (j / PER_UNIT * vectors + v) * WIDTH, weight);
        }
}

INLINE void weigh(element *to, int64_t to_row, const int rows, const int vectors, const float *weights,
                  int64_t weights_step, const element *values, int64_t row, int64_t length, const float *totals)
{
    vec out[ROWS * BLOCK_VECTORS];
    multiply_rows(out, rows, vectors, weights, 1, weights_step, values, row, length);
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            store_element(to + i * to_row + v * WIDTH, out[i * vectors + v] * totals[i]);
}

/* Attention of `num` queries, at most `vectors` vectors of them, of one sequence and head. */
INLINE void attend_block(element *to, int64_t hidden, const int vectors, const element *queries, const element *keys,
                         const element *values, int64_t num, int64_t length, int64_t head_size)
{
    const int64_t row = 3 * hidden, width = vectors * WIDTH;
    float transposed[MAX_HEAD_SIZE * BLOCK_VECTORS * WIDTH] __attribute__((aligned(64)));
    float scores[MAX_LENGTH * BLOCK_VECTORS * WIDTH] __attribute__((aligned(64)));
    float totals[BLOCK_VECTORS * WIDTH] __attribute__((aligned(64)));
    vec greatest[BLOCK_VECTORS], total[BLOCK_VECTORS];
    for (int v = 0; v < vectors; v++)
        greatest[v] = all(-INFINITY);
    transpose_queries(transposed, vectors, queries, row, num, head_size);
    for (int64_t j = 0; j < length; j += ROWS) {
#define SCORE(n) score(scores + j * width, greatest, n, vectors, keys + j * row, row, transposed, head_size)
        WITH_ROWS(length - j, SCORE)
    }
    weights_of(scores, total, vectors, greatest, 1.44269504f / sqrtf((float)head_size), length);
    for (int v = 0; v < vectors; v++)
        store(totals + v * WIDTH, 1.0f / total[v]);
    for (int64_t i = 0; i < num; i += ROWS) {
        int64_t from = 0;
        for (; from + BLOCK_VECTORS * WIDTH <= head_size; from += BLOCK_VECTORS * WIDTH) {
#define WEIGH(n)                                                                                                   \
    weigh(to + i * hidden + from, hidden, n, BLOCK_VECTORS, scores + i, width, values + from, row, length, totals + i)
            WITH_ROWS(num - i, WEIGH)
        }
        for (; from < head_size; from += WIDTH) {
#define WEIGH_ONE(n) weigh(to + i * hidden + from, hidden, n, 1, scores + i, width, values + from, row, length, totals + i)
            WITH_ROWS(num - i, WEIGH_ONE)
        }
    }
}

/* Attention of one sequence and head. */
static void attend_piece(const Attention *job, int64_t sequence, int64_t head)
{
#if defined(AMX)
    if (job->lengths[sequence] >= LEAST_LENGTH) {
        attend_in_tiles(job, sequence, head);
        return;
    }
#endif
    const int64_t hidden = job->num_heads * job->head_size, row = 3 * hidden, d = job->head_size;
    const int64_t first = job->first_rows[sequence], length = job->lengths[sequence];
    const element *queries = (const element *)job->qkv + first * row + head * d;
    const element *keys = queries + hidden, *values = keys + hidden;
    element *to = (element *)job->out + first * hidden + head * d;
    for (int64_t i = 0; i < length; i += BLOCK_VECTORS * WIDTH) {
        int64_t num = SMALLER(length - i, BLOCK_VECTORS * WIDTH);
        if (num > WIDTH)
            attend_block(to + i * hidden, hidden, 2, queries + i * row, keys, values, num, length, d);
        else
            attend_block(to + i * hidden, hidden, 1, queries + i * row, keys, values, num, length, d);
    }
}

static void attend(Attention *job)
{
    const int64_t num_pieces = job->num_sequences * job->num_heads;
#if defined(AMX)
    begin_attention();
#endif
    for (;;) {
        int64_t piece = __atomic_fetch_add(&job->next, job->at_once, __ATOMIC_RELAXED);
        if (piece >= num_pieces)
            break;
        for (int64_t end = SMALLER(piece + job->at_once, num_pieces); piece < end; piece++)
            attend_piece(job, piece / job->num_heads, piece % job->num_heads);
    }
#if defined(AMX)
    end_attention();
#endif
}
