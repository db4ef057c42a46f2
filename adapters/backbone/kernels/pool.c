/* The mean of each sequence's rows, and small dense layers in float32: the pooler and the heads.
 *
 * The result for a sequence or a row depends only on it, bit for bit. */
#include "kernels.h"
#include "vector.h"

#define COLUMNS 4 /* vectors of columns whose sums are computed side by side */

INLINE void mean_of_columns(float *to, const int vectors, const element *rows, int64_t hidden, int64_t length)
{
    vec total[COLUMNS];
    for (int v = 0; v < vectors; v++)
        total[v] = (vec){0};
    for (int64_t i = 0; i < length; i++)
        for (int v = 0; v < vectors; v++)
            total[v] += load_element(rows + i * hidden + v * WIDTH);
    for (int v = 0; v < vectors; v++)
        store(to + v * WIDTH, total[v] / (float)length);
}

static void mean(float *out, const void *h, const int64_t *first_rows, const int64_t *lengths, int64_t num_sequences,
                 int64_t hidden)
{
    for (int64_t n = 0; n < num_sequences; n++) {
        const element *rows = (const element *)h + first_rows[n] * hidden;
        float *to = out + n * hidden;
        int64_t k = 0;
        for (; k + COLUMNS * WIDTH <= hidden; k += COLUMNS * WIDTH)
            mean_of_columns(to + k, COLUMNS, rows + k, hidden, lengths[n]);
        for (; k < hidden; k += WIDTH)
            mean_of_columns(to + k, 1, rows + k, hidden, lengths[n]);
    }
}
