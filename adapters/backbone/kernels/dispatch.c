/* The entry points of the library: each calls the widest variant that the machine supports and the shapes allow. */
#include "kernels.h"

#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* Runs a function in the OpenMP threads that torch has loaded; NULL if torch uses another OpenMP library. */
#if defined(__linux__)
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
#else
static void (*const GOMP_parallel)(void (*)(void *), void *, unsigned, unsigned) = 0;
#endif

static int has_avx512(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

static int has_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

/* The width, in floats, of the machine's widest vector that divides `size`; 0 if none does. */
EXPORTED int64_t adakron_width(int64_t size)
{
    if (has_avx512() && size % 16 == 0)
        return 16;
    if (has_avx2() && size % 8 == 0)
        return 8;
    return size % 4 == 0 ? 4 : 0;
}

/* Rows after the last sequence become 0. */
EXPORTED void adakron_attention(const float *qkv, float *out, const int64_t *first_rows, const int64_t *lengths,
                                int64_t num_rows, int64_t num_sequences, int64_t num_heads, int64_t head_size,
                                int64_t num_threads)
{
    const int64_t hidden = num_heads * head_size, last = num_sequences - 1, end = first_rows[last] + lengths[last];
    const int64_t at_once = num_threads > 1 ? 1 : num_sequences * num_heads;
    Attention job = {qkv, out, first_rows, lengths, num_sequences, num_heads, head_size, 0, at_once};
    attend *kernel = attend_plain;
#if defined(__x86_64__)
    switch (adakron_width(head_size)) {
    case 16: kernel = attend_avx512; break;
    case 8: kernel = attend_avx2; break;
    }
#endif
    memset(out + end * hidden, 0, (size_t)((num_rows - end) * hidden) * sizeof(float));
    if (num_threads > 1 && GOMP_parallel)
        GOMP_parallel((void (*)(void *))kernel, &job, (unsigned)num_threads, 0);
    else
        kernel(&job);
}

EXPORTED void adakron_adapters(float *h, int64_t hidden, const Segment *segments, int64_t num_segments)
{
    adapt *kernel = adapt_plain;
#if defined(__x86_64__)
    switch (adakron_width(hidden)) {
    case 16: kernel = adapt_avx512; break;
    case 8: kernel = adapt_avx2; break;
    }
#endif
    kernel(h, hidden, segments, num_segments);
}

EXPORTED void adakron_norm(float *x, const float *residual, const float *weight, const float *bias,
                           int64_t num_rows, int64_t hidden, float eps)
{
    const Norm norm = {weight, bias, hidden, eps};
    add_and_norm *kernel = add_and_norm_plain;
#if defined(__x86_64__)
    switch (adakron_width(hidden)) {
    case 16: kernel = add_and_norm_avx512; break;
    case 8: kernel = add_and_norm_avx2; break;
    }
#endif
    kernel(x, residual, &norm, num_rows);
}

/* Read by native.py. */
EXPORTED const int64_t adakron_limits[] = {MAX_LENGTH, MAX_HEAD_SIZE, MAX_BOTTLENECK};
