/* What follows the sums of a product in int8: scale, zero and bias; outliers; GELU. All variants round alike. */
#pragma once

#include "int8.h"
#include "vector.h"
#include "gelu.h"

#define BYTES 4 /* neighbours in a row that one instruction multiplies and adds in each lane */

typedef int32_t ints_anywhere __attribute__((vector_size(4 * WIDTH), aligned(1), may_alias));

INLINE ivec load_ints(const void *from) { return *(const ints_anywhere *)from; }

/* Of WIDTH channels: the sums of their weights, their scales and their bias. */
typedef struct {
    ivec sums;
    vec scales, bias;
} Channels;

INLINE Channels channels_from(const Int8Dense *job, int64_t channel)
{
    return (Channels){load_ints(job->sums + channel), load(job->weight_scales + channel), load(job->bias + channel)};
}

INLINE vec in_float32(const Int8Dense *job, int64_t row, ivec sum, Channels channels)
{
    const ivec exact = sum - job->zeros[row] * channels.sums;
    return __builtin_convertvector(exact, vec) * (channels.scales * job->scales[row]) + channels.bias;
}

/* Add the products of the outliers among the channels, in float32. */
INLINE void add_outliers(const Int8Dense *job, int64_t row, const int rows, int64_t channel, int64_t num_channels)
{
    for (int64_t n = 0; n < job->num_outliers; n++) {
        const int64_t of_channel = job->outliers[2 * n], place = job->outliers[2 * n + 1];
        if (of_channel < channel || of_channel >= channel + num_channels)
            continue;
        for (int i = 0; i < rows; i++)
            job->out[(row + i) * job->width + of_channel] +=
                job->x[(row + i) * job->depth + place] * job->outlier_weights[n];
    }
}

/* Outliers and GELU of rows and channels, a multiple of WIDTH, that lie in `out` in float32. */
INLINE void finish(const Int8Dense *job, int64_t row, const int rows, int64_t channel, int64_t num_channels)
{
    add_outliers(job, row, rows, channel, num_channels);
    float *out = job->out + row * job->width + channel;
    for (int i = 0; job->with_gelu && i < rows; i++)
        for (int64_t c = 0; c < num_channels; c += WIDTH)
            store(out + i * job->width + c, gelu(load(out + i * job->width + c)));
}

INLINE int64_t take(Int8Dense *job) { return __atomic_fetch_add(&job->next, job->at_once, __ATOMIC_RELAXED); }
