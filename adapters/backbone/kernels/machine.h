/* The processor's instructions and the threads that torch has loaded; shared by all entry points. */
#pragma once

#define EXPORTED __attribute__((visibility("default")))

int has_avx2(void);
int has_avx512(void);
int has_bfloat16(void);    /* AVX512-BF16 */
int has_avx512_vnni(void);
int has_avx_vnni(void);

/* AMX with tiles of int8 and bfloat16. The first call asks Linux for the tiles, for all threads of this process. Each
 * thread must load a tile configuration before it multiplies, and release it afterwards; see tiles.h. */
int has_amx(void);

/* Run `step` on `job` in that many threads of OpenMP at once; once in this thread if torch uses another OpenMP. */
void run_in_threads(void (*step)(void *), void *job, unsigned num_threads);
