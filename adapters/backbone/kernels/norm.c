/* LayerNorm of x + residual: x <- (s - mean(s)) / sqrt(var(s) + eps) weight + bias with s = x + residual in float32.
 *
 * In bfloat16 the residual is float32 and becomes the result, too, before it is rounded: so rounding errors do not add up
 * from layer to layer. The result for a row depends only on the row, bit for bit. */
#include "kernels.h"
#include "vector.h"

#include <math.h>

#define ROWS_AT_ONCE 4 /* rows whose sums are computed side by side, independent of each other */

INLINE void normalise(element *x, float *residual, const int rows, const Norm *norm)
{
    const int64_t hidden = norm->hidden;
#if defined(BFLOAT16)
    float *sums = residual;
#else
    float *sums = x;
#endif
    vec total[ROWS_AT_ONCE], squares[ROWS_AT_ONCE], mean[ROWS_AT_ONCE], scale[ROWS_AT_ONCE];
    for (int i = 0; i < rows; i++)
        total[i] = squares[i] = (vec){0};
    for (int64_t k = 0; k < hidden; k += WIDTH)
        for (int i = 0; i < rows; i++) {
            vec s = load_element(x + i * hidden + k) + load(residual + i * hidden + k);
            store(sums + i * hidden + k, s);
            total[i] += s;
        }
    for (int i = 0; i < rows; i++)
        mean[i] = sum_of_lanes(total[i]) / (float)hidden;
    for (int64_t k = 0; k < hidden; k += WIDTH)
        for (int i = 0; i < rows; i++) {
            vec from_mean = load(sums + i * hidden + k) - mean[i];
            squares[i] += from_mean * from_mean;
        }
    for (int i = 0; i < rows; i++)
        scale[i] = all(1.0f / sqrtf(sum_of_lanes(squares[i])[0] / (float)hidden + norm->eps));
    for (int64_t k = 0; k < hidden; k += WIDTH) {
        vec weight = load(norm->weight + k), bias = load(norm->bias + k);
        for (int i = 0; i < rows; i++) {
            vec found = (load(sums + i * hidden + k) - mean[i]) * scale[i] * weight + bias;
            store(sums + i * hidden + k, found);
#if defined(BFLOAT16)
            store_element(x + i * hidden + k, found);
#endif
        }
    }
}

static void add_and_norm(void *of, float *residual, const Norm *norm, int64_t num_rows)
{
    const int64_t hidden = norm->hidden;
    element *x = of;
    int64_t i = 0;
    for (; i + ROWS_AT_ONCE <= num_rows; i += ROWS_AT_ONCE)
        normalise(x + i * hidden, residual + i * hidden, ROWS_AT_ONCE, norm);
    for (; i < num_rows; i++)
        normalise(x + i * hidden, residual + i * hidden, 1, norm);
}
