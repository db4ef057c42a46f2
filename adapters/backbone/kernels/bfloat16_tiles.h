/* The sizes of AMX's tiles for products in bfloat16, whose sums are float32. */
#pragma once

#include "tiles.h"

#define TILE 16       /* rows of a tile, and its columns of float32 */
#define DEPTH 32      /* numbers of a sum that a tile holds */
#define TILE_SIZE 512 /* numbers in a tile */
