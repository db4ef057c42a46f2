/* LayerNorm of x + residual: x <- (s - mean(s)) / sqrt(var(s) + eps) weight + bias with s = x + residual.
 *
 * The result for a row depends only on the row, bit for bit. */
#include "kernels.h"
#include "vector.h"

#include <math.h>

#define ROWS_AT_ONCE 4 /* rows whose sums are computed side by side, independent of each other */

INLINE void normalise(float *x, const int rows, const float *residual, const Norm *norm)
{
    const int64_t hidden = norm->hidden;
    vec total[ROWS_AT_ONCE], squares[ROWS_AT_ONCE], mean[ROWS_AT_ONCE], scale[ROWS_AT_ONCE];
    for (int i = 0; i < rows; i++)
        total[i] = squares[i] = (vec){0};
    for (int64_t k = 0; k < hidden; k += WIDTH)
        for (int i = 0; i < rows; i++) {
            vec s = load(x + i * hidden + k);
            if (residual) {
                s += load(residual + i * hidden + k);
                store(x + i * hidden + k, s);
            }
            total[i] += s;
        }
    for (int i = 0; i < rows; i++)
        mean[i] = sum_of_lanes(total[i]) / (float)hidden;
    for (int64_t k = 0; k < hidden; k += WIDTH)
        for (int i = 0; i < rows; i++) {
            vec from_mean = load(x + i * hidden + k) - mean[i];
            squares[i] += from_mean * from_mean;
        }
    for (int i = 0; i < rows; i++)
        scale[i] = all(1.0f / sqrtf(sum_of_lanes(squares[i])[0] / (float)hidden + norm->eps));
    for (int64_t k = 0; k < hidden; k += WIDTH) {
        vec weight = load(norm->weight + k), bias = load(norm->bias + k);
        for (int i = 0; i < rows; i++) {
            float *place = x + i * hidden + k;
            store(place, (load(place) - mean[i]) * scale[i] * weight + bias);
        }
    }
}

void NAMED(add_and_norm)(float *x, const float *residual, const Norm *norm, int64_t num_rows)
{
    int64_t i = 0;
    const int64_t hidden = norm->hidden;
    for (; i + ROWS_AT_ONCE <= num_rows; i += ROWS_AT_ONCE)
        normalise(x + i * hidden, ROWS_AT_ONCE, residual ? residual + i * hidden : 0, norm);
    for (; i < num_rows; i++)
        normalise(x + i * hidden, 1, residual ? residual + i * hidden : 0, norm);
}
