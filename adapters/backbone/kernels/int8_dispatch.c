/* The entry points for dense layers in int8. */
#include "int8.h"

#include <stddef.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define EXPORTED __attribute__((visibility("default")))

/* Runs a function in the OpenMP threads that torch has loaded; NULL if torch uses another OpenMP library. */
#if defined(__linux__)
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
#else
static void (*const GOMP_parallel)(void (*)(void *), void *, unsigned, unsigned) = 0;
#endif

#if defined(__x86_64__)
static int has_avx512_vnni(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("avx512vnni");
}

static int has_avx_vnni(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || __get_cpuid_max(0, 0) < 7)
        return 0;
    __cpuid_count(7, 0, eax, ebx, ecx, edx);
    if (eax < 1)
        return 0;
    __cpuid_count(7, 1, eax, ebx, ecx, edx); /* compilers of 2020 do not know "avxvnni" */
    return eax >> 4 & 1;
}
#endif

/* The kernels whose vectors divide depth and width, and that width of a vector, in lanes; NULL if there are none. */
static const Int8Kernels *kernels_for(int64_t depth, int64_t width, int64_t *lanes)
{
#if defined(__x86_64__)
    if (int8_avx512.multiply && has_avx512_vnni() && depth % (*lanes = 16) == 0 && width % 16 == 0)
        return &int8_avx512;
    if (int8_avx2.multiply && has_avx_vnni() && depth % (*lanes = 8) == 0 && width % 8 == 0)
        return &int8_avx2;
#endif
    (void)depth, (void)width, (void)lanes;
    return NULL;
}

/* The lanes of the vectors of a dense layer of that size; 0: no kernel supports it on this machine. */
EXPORTED int64_t adakron_int8_lanes(int64_t depth, int64_t width)
{
    int64_t lanes;
    return kernels_for(depth, width, &lanes) ? lanes : 0;
}

static void run(void (*step)(Int8Dense *), Int8Dense *job, int64_t num_threads)
{
    job->next = 0;
    if (num_threads > 1 && GOMP_parallel)
        GOMP_parallel((void (*)(void *))step, job, (unsigned)num_threads, 0);
    else
        step(job);
}

/* `scratch` has room for num_rows * (depth + 8) bytes. */
EXPORTED void adakron_int8_dense(const float *x, float *out, void *scratch, const int8_t *weight,
                                 const int32_t *sums, const float *weight_scales, const float *bias,
                                 const int32_t *outliers, const float *outlier_weights, int64_t num_outliers,
                                 int64_t num_rows, int64_t depth, int64_t width, int64_t with_gelu, int64_t num_threads)
{
    int64_t lanes;
    const Int8Kernels *kernels = kernels_for(depth, width, &lanes);
    float *scales = scratch;
    int32_t *zeros = (int32_t *)(scales + num_rows);
    Int8Dense job = {x, out, (uint8_t *)(zeros + num_rows), scales, zeros, weight, sums, weight_scales, bias,
                     outliers, outlier_weights, num_outliers, num_rows, depth, width, with_gelu, 0,
                     num_threads > 1 ? 1 : INT32_MAX};
    run(kernels->quantise, &job, num_threads);
    run(kernels->multiply, &job, num_threads);
}
