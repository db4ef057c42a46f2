/* The entry points of the library: each takes the widest variant that the machine has and the shapes allow. */
#include "kernels.h"

#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* Of the team of threads that torch has brought into the process; missing where it brought another kind. */
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));

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

/* Floats in the widest vector that the machine has and that divides `size`; 0 where none does. */
EXPORTED int64_t adakron_width(int64_t size)
{
    if (has_avx512() && size % 16 == 0)
        return 16;
    if (has_avx2() && size % 8 == 0)
        return 8;
    return size % 4 == 0 ? 4 : 0;
}

/* Rows that follow the sequences become 0. `width` is adakron_width(head_size). */
EXPORTED void adakron_attention(const float *qkv, float *out, const int64_t *first_rows, const int64_t *lengths,
                                int64_t num_rows, int64_t num_sequences, int64_t num_heads, int64_t head_size,
                                int64_t num_threads)
{
    const int64_t hidden = num_heads * head_size, last = num_sequences - 1, end = first_rows[last] + lengths[last];
    Attention job = {qkv, out, first_rows, lengths, num_sequences, num_heads, head_size, 0};
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

/* For Python's side to agree with. */
EXPORTED const int64_t adakron_limits[] = {MAX_LENGTH, MAX_HEAD_SIZE, MAX_BOTTLENECK};
