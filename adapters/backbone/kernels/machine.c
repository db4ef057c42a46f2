/* See machine.h. */
#include "machine.h"

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* NULL if torch uses another OpenMP library. */
#if defined(__linux__)
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
#else
static void (*const GOMP_parallel)(void (*)(void *), void *, unsigned, unsigned) = 0;
#endif

void run_in_threads(void (*step)(void *), void *job, unsigned num_threads)
{
    if (num_threads > 1 && GOMP_parallel)
        GOMP_parallel(step, job, num_threads, 0);
    else
        step(job);
}

/* The greatest level of instructions that may be used: of AVX2, AVX-512, AVX512-BF16 and VNNI, AMX. */
enum { OF_AVX2 = 1, OF_AVX512, OF_BFLOAT16_AND_VNNI, OF_AMX };
static int64_t level = OF_AMX;

/* For tests: hide from the kernels what the processor has beyond a level; 0 leaves the plain ones. Returns the level that
 * was set before. */
EXPORTED int64_t adakron_set_level(int64_t next)
{
    int64_t before = level;
    level = next;
    return before;
}

#if defined(__x86_64__)

int has_avx2(void) { return level >= OF_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

int has_avx512(void)
{
    if (level < OF_AVX512)
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

int has_bfloat16(void)
{
    if (level < OF_BFLOAT16_AND_VNNI)
        return 0;
    return has_avx512() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512bf16");
}

int has_avx512_vnni(void)
{
    return level >= OF_BFLOAT16_AND_VNNI && has_avx512() && __builtin_cpu_supports("avx512vnni");
}

typedef struct {
    unsigned eax, ebx, ecx, edx;
} Registers;

/* Leaf 7 of cpuid; zeros if the processor has no such leaf. Compilers of 2020 do not name all of its bits. */
static Registers leaf_7(unsigned subleaf)
{
    Registers found = {0, 0, 0, 0};
    if (__get_cpuid_max(0, NULL) < 7)
        return found;
    __cpuid_count(7, 0, found.eax, found.ebx, found.ecx, found.edx);
    if (found.eax < subleaf)
        return (Registers){0, 0, 0, 0};
    if (subleaf)
        __cpuid_count(7, subleaf, found.eax, found.ebx, found.ecx, found.edx);
    return found;
}

int has_avx_vnni(void) { return has_avx2() && leaf_7(1).eax >> 4 & 1; }

#if defined(__linux__)

#define REQUEST_PERMISSION 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18              /* XFEATURE_XTILEDATA */
#define AMX (1u << 22 | 1u << 24 | 1u << 25) /* bfloat16, tiles, int8 */

static int may_use_tiles(void)
{
    return (leaf_7(0).edx & AMX) == AMX && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

int has_amx(void)
{
    static int known; /* 0: not yet, 1: no, 2: yes. Threads that ask at once find the same. */
    int found = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!found)
        __atomic_store_n(&known, found = 1 + may_use_tiles(), __ATOMIC_RELAXED);
    return found == 2 && level >= OF_AMX;
}

#else

int has_amx(void) { return 0; }

#endif

#else

int has_avx2(void) { return 0; }
int has_avx512(void) { return 0; }
int has_bfloat16(void) { return 0; }
int has_avx512_vnni(void) { return 0; }
int has_avx_vnni(void) { return 0; }
int has_amx(void) { return 0; }

#endif
