/* The entry points for dense layers in int8. */
#include "int8.h"
#include "machine.h"

#include <stddef.h>

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

/* Whether AMX multiplies a dense layer of that size on this machine. */
EXPORTED int64_t adakron_int8_tiles(int64_t depth, int64_t width)
{
    int64_t lanes;
    const Int8Kernels *kernels = kernels_for(depth, width, &lanes);
    return kernels && lanes == TILE_SIZE && int8_multiply_tiles && depth % TILE_DEPTH == 0 && has_amx();
}

static void run(void (*step)(Int8Dense *), Int8Dense *job, int64_t num_threads)
{
    job->next = 0;
    run_in_threads((void (*)(void *))step, job, (unsigned)num_threads);
}

/* `scratch` has room for (depth + 8) bytes for each row, their number rounded up to whole tiles. `with_tiles`: multiply
 * with AMX, if adakron_int8_tiles; the result is the same. */
EXPORTED void adakron_int8_dense(const float *x, float *out, void *scratch, const int8_t *weight,
                                 const int32_t *sums, const float *weight_scales, const float *bias,
                                 const int32_t *outliers, const float *outlier_weights, int64_t num_outliers,
                                 int64_t num_rows, int64_t depth, int64_t width, int64_t with_gelu, int64_t with_tiles,
                                 int64_t num_threads)
{
    int64_t lanes;
    const Int8Kernels *kernels = kernels_for(depth, width, &lanes);
    float *scales = scratch;
    int32_t *zeros = (int32_t *)(scales + num_rows);
    uint8_t *bytes = (uint8_t *)(zeros + num_rows);
    Int8Dense job = {x, out, bytes, scales, zeros, weight, sums, weight_scales, bias,
                     outliers, outlier_weights, num_outliers, num_rows, depth, width, with_gelu, 0,
                     num_threads > 1 ? 1 : INT32_MAX};
    run(kernels->quantise, &job, num_threads);
    run(with_tiles ? int8_multiply_tiles : kernels->multiply, &job, num_threads);
}
