/* The entry points of the library: each calls the widest variant that the machine supports and the shapes allow. */
#include "kernels.h"
#include "machine.h"

#include <string.h>

extern const Kernels kernels_float32_plain, kernels_bfloat16_plain;
#if defined(__x86_64__)
extern const Kernels kernels_float32_avx512, kernels_float32_avx2;
extern const Kernels kernels_bfloat16_amx, kernels_bfloat16_avx512bf16, kernels_bfloat16_avx512, kernels_bfloat16_avx2;
#endif

enum { FLOAT32, BFLOAT16 }; /* native.py has the same numbers */

/* The kernels of the widest variant that the machine supports and whose vectors divide `size`; NULL if none does.
 * `width`: the numbers that it multiplies at once. */
static const Kernels *kernels_for(int64_t type, int64_t size, int64_t *width)
{
#if defined(__x86_64__)
    if (type == BFLOAT16 && has_amx() && has_bfloat16() && size % (*width = 32) == 0)
        return &kernels_bfloat16_amx;
    if (type == BFLOAT16 && has_bfloat16() && size % (*width = 32) == 0)
        return &kernels_bfloat16_avx512bf16;
    if (has_avx512() && size % (*width = 16) == 0)
        return type == BFLOAT16 ? &kernels_bfloat16_avx512 : &kernels_float32_avx512;
    if (has_avx2() && size % (*width = 8) == 0)
        return type == BFLOAT16 ? &kernels_bfloat16_avx2 : &kernels_float32_avx2;
#endif
    if (size % (*width = 4) == 0)
        return type == BFLOAT16 ? &kernels_bfloat16_plain : &kernels_float32_plain;
    return 0;
}

/* How many numbers the kernels for rows of `size` multiply at once; 0: there are none. */
EXPORTED int64_t adakron_width(int64_t type, int64_t size)
{
    int64_t width;
    return kernels_for(type, size, &width) ? width : 0;
}

/* Rows after the last sequence become 0. */
EXPORTED void adakron_attention(int64_t type, const void *qkv, void *out, const int64_t *first_rows,
                                const int64_t *lengths, int64_t num_rows, int64_t num_sequences, int64_t num_heads,
                                int64_t head_size, int64_t num_threads)
{
    const size_t number = type == BFLOAT16 ? 2 : 4;
    const int64_t hidden = num_heads * head_size, last = num_sequences - 1, end = first_rows[last] + lengths[last];
    const int64_t at_once = num_threads > 1 ? 1 : num_sequences * num_heads;
    Attention job = {qkv, out, first_rows, lengths, num_sequences, num_heads, head_size, 0, at_once};
    int64_t width;
    void (*attend)(Attention *) = kernels_for(type, head_size, &width)->attend;
    memset((char *)out + (size_t)(end * hidden) * number, 0, (size_t)((num_rows - end) * hidden) * number);
    run_in_threads((void (*)(void *))attend, &job, (unsigned)num_threads);
}

EXPORTED void adakron_adapters(int64_t type, void *h, int64_t hidden, const Segment *segments, int64_t num_segments)
{
    int64_t width;
    kernels_for(type, hidden, &width)->adapt(h, hidden, segments, num_segments);
}

EXPORTED void adakron_norm(int64_t type, void *x, float *residual, const float *weight, const float *bias,
                           int64_t num_rows, int64_t hidden, float eps)
{
    const Norm norm = {weight, bias, hidden, eps};
    int64_t width;
    kernels_for(type, hidden, &width)->add_and_norm(x, residual, &norm, num_rows);
}

EXPORTED void adakron_mean(int64_t type, float *out, const void *h, const int64_t *first_rows, const int64_t *lengths,
                           int64_t num_sequences, int64_t hidden)
{
    int64_t width;
    kernels_for(type, hidden, &width)->mean(out, h, first_rows, lengths, num_sequences, hidden);
}

EXPORTED void adakron_dense(int64_t type, float *out, const void *x, const void *weight, const void *bias,
                            int64_t num_rows, int64_t hidden, int64_t width)
{
    int64_t at_once;
    kernels_for(type, hidden, &at_once)->dense(out, x, weight, bias, num_rows, hidden, width);
}

/* Read by native.py. hatch_build.py derives the number from all sources, so that no library of others is used. */
EXPORTED const int64_t adakron_sources = SOURCES_NUMBER;
EXPORTED const int64_t adakron_limits[] = {MAX_LENGTH, MAX_HEAD_SIZE, MAX_BOTTLENECK};
