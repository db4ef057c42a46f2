"""Self-attention over packed tokens: each token sees its own sequence and nothing else."""

import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.backbone.packing import Packing
from adapters.backbone.varlen import VarlenPacking, varlen_attention


def packed_attention(qkv: Tensor, packing: Packing | VarlenPacking, num_heads: int, dropout_p: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V within each sequence of the packing.

    qkv [T, 3 * H], the three side by side -> [T, H], a new tensor of its dtype, d = H / num_heads. Sequences of
    about equal length run as one dense batch, masked where they are filled up; what is filled up weighs exactly 0. A
    VarlenPacking has its own way, and no dropout.
    """
    if isinstance(packing, VarlenPacking):
        return varlen_attention(qkv, packing, num_heads)
    hidden = qkv.shape[1] // 3
    grouping = packing.grouping
    grouped = qkv.index_select(0, grouping.to_groups)
    outputs = []
    for group in grouping.groups:
        # [n, l, 3, heads, d] -> three of [n, heads, l, d]
        block = grouped[group.start : group.stop].view(group.num_sequences, group.length, 3, num_heads, -1)
        query, key, value = block.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, group.is_token, dropout_p)
        outputs.append(attended.transpose(1, 2).reshape(-1, hidden))
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return output.index_select(0, grouping.from_groups)
