"""Pooling and the task heads of a whole mixed batch, in one kernel launch, in float32.

A program computes one sequence: it pools the sequence's rows in the way of its task, and multiplies the result with
its adapter's head, given by address. Heads with any numbers of outputs can be in one batch.
"""

import triton
import triton.language as tl
from torch import Tensor

from adapters.config import Pooling

POOLING_CODES: dict[Pooling, int] = {"mean": 0, "cls": 1, "pooler": 2}
_ROWS, _OUTPUTS, _COLUMNS = 16, 16, 128  # that a program computes at a time


def pool_and_classify(
    hidden: Tensor, pooled_first: Tensor, cu_seqlens: Tensor, sequences: Tensor, heads: Tensor, logits: Tensor
) -> Tensor:
    """logits[o_n + c] = sum_k W^s[c, k] v_n[k] + b^s[c], v_n = the pooled rows of sequence n, s = its segment.

    In place into logits [num_logits] float32 -> logits; logits of no sequence do not change. v_n is the mean of
    its rows, its first row, or row n of `pooled_first`, all in float32.

    hidden [T, H] and pooled_first [N, H], contiguous, in the backbone's type
    cu_seqlens [N + 1] int32: first row of each sequence, then the end
    sequences [N, 4] int32: segment, code of the pooling, number of outputs (0: padding), o_n
    heads [S, 2] int64: addresses of W^s [num_outputs, H] and b^s [num_outputs], float32
    """
    width = hidden.shape[1]
    _kernel[(len(sequences),)](
        hidden,
        pooled_first,
        cu_seqlens,
        sequences,
        heads,
        logits,
        H=width,
        ROWS=_ROWS,
        OUTPUTS=_OUTPUTS,
        BLOCK=min(_COLUMNS, triton.next_power_of_2(width)),
        num_warps=4,
    )
    return logits


@triton.jit
def _kernel(
    hidden,
    pooled_first,
    cu_seqlens,
    sequences,
    heads,
    logits,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(0)
    segment = tl.load(sequences + n * 4)
    pooling = tl.load(sequences + n * 4 + 1)
    num_outputs = tl.load(sequences + n * 4 + 2)
    logits += tl.load(sequences + n * 4 + 3)
    first_row = tl.load(cu_seqlens + n)
    num_rows = tl.load(cu_seqlens + n + 1) - first_row
    source = hidden + first_row * H
    if pooling != 0:
        num_rows = 1
    if pooling == 2:
        source = pooled_first + n * H
    weight = tl.multiple_of(tl.load(heads + segment * 2).to(tl.pointer_type(tl.float32)), 16)
    bias = tl.load(heads + segment * 2 + 1).to(tl.pointer_type(tl.float32))

    column = tl.arange(0, BLOCK)
    row = tl.arange(0, ROWS)
    for first_output in range(0, num_outputs, OUTPUTS):
        output = first_output + tl.arange(0, OUTPUTS)
        is_output = output < num_outputs
        total = tl.load(bias + output, mask=is_output, other=0.0)
        for start in range(0, H, BLOCK):
            c = start + column
            pooled = tl.zeros([BLOCK], tl.float32)
            for at in range(0, num_rows, ROWS):
                is_row = (at + row < num_rows)[:, None] & (c < H)[None, :]
                rows = tl.load(source + (at + row)[:, None] * H + c[None, :], mask=is_row, other=0.0)
                pooled += tl.sum(rows.to(tl.float32), axis=0)
            part = tl.load(
                weight + output[:, None] * H + c[None, :], mask=is_output[:, None] & (c < H)[None, :], other=0.0
            )
            total += tl.sum(part * (pooled / num_rows)[None, :], axis=1)
        tl.store(logits + output, total, mask=is_output)
