"""What torch's varlen attention computes, one sequence at a time, for machines where it does not run."""

import math
from itertools import pairwise

import torch
from torch import Tensor


def slow_varlen_attn(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int
) -> Tensor:
    """Query, key, value [T, heads, d], cu_seqlens [N + 1] int32 -> [T, heads, d]; NaN in rows of no sequence."""
    assert cu_seq_q.dtype is cu_seq_k.dtype is torch.int32
    output = torch.full_like(query, math.nan)
    bounds = cu_seq_q.tolist()
    for start, stop in pairwise(bounds):
        assert start <= stop <= start + min(max_q, max_k)
        rows = slice(start, stop)
        scores = torch.einsum("qhd,khd->hqk", query[rows].float(), key[rows].float()) / math.sqrt(query.shape[-1])
        attended = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[rows].float())
        output[rows] = attended.to(query.dtype)
    return output
