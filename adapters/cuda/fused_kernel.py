"""The adapters of one layer on a whole mixed batch, in one kernel launch.

A program computes one tile: up to 16 rows of one segment. One table gives the segment of each tile, another the
addresses of the weights of each segment's adapter. So one launch serves any number of adapters, each with its own p and
q, and neither weights nor rows are gathered or copied (docs/decisions/0007-one-kernel-and-graphs.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

ROWS_PER_TILE = 16  # the fewest rows that a tensor core multiplies
MAX_PADDED_RANK = 512  # a program's z and part of W_up beyond it exceed registers and shared memory
_PART_ELEMENTS = 8192  # of W_up that a program holds at a time


@dataclass(frozen=True)
class KernelShape:
    """The sizes, powers of two, for which the kernel is compiled; segments with smaller p and q run in it, too."""

    q: int
    width: int  # of b and a side by side

    @classmethod
    def covering(cls, bottlenecks: Iterable[tuple[int, int]]) -> "KernelShape":
        """Return the smallest shape for adapters of these (p, q), at least the paper's: q = 4, p up to 12."""
        pairs = list(bottlenecks)
        q = max([4, *(q for _, q in pairs)])
        width = max([16, *(p + q for p, q in pairs)])
        return cls(triton.next_power_of_2(q), triton.next_power_of_2(width))

    @property
    def padded_rank(self) -> int:
        """The width of z with its padding: z[j * width + i]."""
        return self.q * self.width

    @property
    def fits(self) -> bool:
        """Whether the kernel can be compiled for this shape."""
        return self.padded_rank <= MAX_PADDED_RANK


def add_adapters(
    h: Tensor, tiles: Tensor, bottlenecks: Tensor, addresses: Tensor, layer: int, shape: KernelShape
) -> Tensor:
    """h[t] += W_up^s GELU(b (x) a) + b_up^s, b = W_b^s h[t] + b_b^s, a = W_a^s h[t] + b_a^s, s = the segment of t.

    In place; h [T, H], contiguous, float32, float16 or bfloat16 -> h. Products accumulate in float32; b, a and the GELU
    are float32. Rows without a tile, or whose adapter is not in this layer, do not change.

    tiles [K, 3] int32: segment, first row, number of rows (0: none, at most ROWS_PER_TILE)
    bottlenecks [S, 2] int32: p, q of each segment's adapter; all within `shape`
    addresses [S, num_layers, 3] int64: of down [q + p, H], W_b above W_a; of its biases [q + p]; of up [r + 1, H],
    W_up transposed above b_up. In h's type; matrices begin at multiples of 16 bytes. 0: no adapter in that layer.
    """
    num_tiles, hidden = len(tiles), h.shape[1]
    _kernel[(num_tiles,)](
        h,
        tiles,
        bottlenecks,
        addresses,
        layer,
        H=hidden,
        NUM_LAYERS=addresses.shape[1],
        Q=shape.q,
        WIDTH=shape.width,
        ROWS=ROWS_PER_TILE,
        BLOCK=block_columns(hidden, shape),
        num_warps=4,
    )
    return h


def block_columns(hidden: int, shape: KernelShape) -> int:
    """Return the number of columns of h that a program computes at a time."""
    widest = triton.next_power_of_2(max(hidden, 16))
    return int(min(widest, 128, max(16, _PART_ELEMENTS // shape.padded_rank)))


@triton.jit(do_not_specialize=["layer"])
def _kernel(
    h,
    tiles,
    bottlenecks,
    addresses,
    layer,
    H: tl.constexpr,
    NUM_LAYERS: tl.constexpr,
    Q: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    dtype = h.dtype.element_ty
    tile = tiles + tl.program_id(0) * 3
    segment = tl.load(tile)
    num_rows = tl.load(tile + 2)
    weights = addresses + (segment * NUM_LAYERS + layer) * 3
    if (num_rows == 0) | (tl.load(weights) == 0):
        return
    # aligned to 16 bytes, so that loads are as wide as the hardware allows
    down = tl.multiple_of(tl.load(weights).to(tl.pointer_type(dtype)), 16)
    down_bias = tl.load(weights + 1).to(tl.pointer_type(dtype))
    up = tl.multiple_of(tl.load(weights + 2).to(tl.pointer_type(dtype)), 16)
    p = tl.load(bottlenecks + segment * 2)
    q = tl.load(bottlenecks + segment * 2 + 1)

    row = tl.arange(0, ROWS)
    x = h + tl.load(tile + 1) * H + row[:, None] * H
    is_row = (row < num_rows)[:, None]
    column = tl.arange(0, BLOCK)
    place = tl.arange(0, WIDTH)

    # b and a side by side: ba[t, :q] = b, ba[t, q : q + p] = a, zeros beyond
    ba = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(0, H, BLOCK):
        c = start + column
        rows = tl.load(x + c[None, :], mask=is_row & (c < H)[None, :], other=0.0)
        part = tl.load(
            down + place[None, :] * H + c[:, None], mask=(place < q + p)[None, :] & (c < H)[:, None], other=0.0
        )
        ba = tl.dot(rows, part, ba, input_precision="ieee")
    ba += tl.load(down_bias + place, mask=place < q + p, other=0.0)[None, :].to(tl.float32)

    # z[t, j * WIDTH + i] = b_j * ba_i: the Kronecker product for q <= i < q + p, unused elsewhere
    j = tl.arange(0, Q)
    b = tl.sum(tl.where(place[None, :, None] == j[None, None, :], ba[:, :, None], 0.0), axis=1)
    z = tl.reshape(b[:, :, None] * ba[:, None, :], [ROWS, Q * WIDTH])
    z = 0.5 * z * (1.0 + tl.math.erf(z * 0.7071067811865476))
    k = tl.arange(0, Q * WIDTH)
    i = k % WIDTH - q
    is_product = (k // WIDTH < q) & (i >= 0) & (i < p)
    z = tl.where(is_product[None, :], z, 0.0).to(dtype)
    up_row = k // WIDTH * p + i

    tl.debug_barrier()  # all warps have read the rows, which change from here on
    for start in range(0, H, BLOCK):
        c = start + column
        inside = is_row & (c < H)[None, :]
        part = tl.load(up + up_row[:, None] * H + c[None, :], mask=is_product[:, None] & (c < H)[None, :], other=0.0)
        bias = tl.load(up + p * q * H + c, mask=c < H, other=0.0).to(tl.float32)
        rows = tl.load(x + c[None, :], mask=inside, other=0.0).to(tl.float32)
        rows += tl.dot(z, part, input_precision="ieee") + bias[None, :]
        tl.store(x + c[None, :], rows.to(dtype), mask=inside)
