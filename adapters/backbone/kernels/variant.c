/* All kernels for one type and one variant of the machine: compiled with -DTYPE=... -DVARIANT=..., see hatch_build.py. */
#define JOIN_NAMES(type, variant) kernels_##type##_##variant
#define NAME_IN(type, variant) JOIN_NAMES(type, variant)

#include "attention.c"
#include "adapter.c"
#include "norm.c"
#include "pool.c"

const Kernels NAME_IN(TYPE, VARIANT) = {attend, adapt, add_and_norm, mean, dense};
