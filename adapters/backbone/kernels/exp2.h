/* The power of two that the softmax needs. */
#pragma once

#include "vector.h"

/* 2^x for x <= 0, with a relative error below 1e-7; at least 2^-125. NaN stays NaN. */
INLINE vec exp2_of(vec x)
{
    const vec shift = all(12582912.0f + 127.0f); /* the last bits of x + shift are then round(x) + 127 */
    x = greater(all(-125.0f), x);
    vec shifted = x + shift;
    vec r = x - (shifted - shift); /* in [-1/2, 1/2] */
    vec power = all(1.546144472e-4f);
    power = power * r + 1.340042818e-3f;
    power = power * r + 9.618056678e-3f;
    power = power * r + 5.550327227e-2f;
    power = power * r + 2.402265092e-1f;
    power = power * r + 6.931472067e-1f;
    power = power * r + 1.0f;
    return power * (vec)((ivec)shifted << 23);
}
