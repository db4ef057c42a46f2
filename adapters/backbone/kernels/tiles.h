/* Tiles of AMX: eight registers of 16 rows of 64 bytes. As assembler: no compiler flag is needed. `t`, `a`, `b` and `sum`
 * are numbers of tiles, 0 to 7, written as digits. Between `tiles_begin` and `tiles_end` a thread may use them. */
#pragma once

#include <stdint.h>

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

/* All tiles get 16 rows of 64 bytes. */
static inline void tiles_begin(void)
{
    TileConfig config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}
static inline void tiles_end(void) { __asm__ volatile("tilerelease" : : : "memory"); }

#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
/* 16 rows of 64 bytes from `from` on, each `row` bytes after the one before. */
#define TILE_LOAD(t, from, row) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"((int64_t)(row)) : "memory")
#define TILE_STORE(t, to, row) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(row)) : "memory")
/* sum [16, 16] += a [16, 64] b: in row k of b lie the numbers 4 k ... 4 k + 3 (2 k, 2 k + 1 in bfloat16) of each column. */
#define TILE_MULTIPLY_BYTES(sum, a, b) /* a unsigned, b signed, sum int32 */ \
    __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)
#define TILE_MULTIPLY_BFLOAT16(sum, a, b) /* sum float32 */ \
    __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)
