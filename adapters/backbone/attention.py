"""Self-attention over packed tokens: each token attends to its own sequence only.

On the CPU sequences of about equal length form dense batches; on a GPU one launch takes all sequences of a batch.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.backbone.packing import Packing

MAX_HEAD_SIZE = 256  # of torch's flash attention
OLDEST_GPU = (8, 0)  # compute capability: Ampere


@dataclass(frozen=True, eq=False)
class VarlenPacking:
    """Offsets of N sequences in T tokens, for kernels that read them on the device."""

    cu_seqlens: Tensor  # [N + 1] int32: first row of each sequence, then T; sequences may be empty
    positions: Tensor  # [T] int32: 0, 1, ... within each sequence
    max_length: int  # no sequence is longer


def packed_attention(qkv: Tensor, packing: Packing | VarlenPacking, num_heads: int, dropout_p: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V within each sequence of the packing.

    qkv [T, 3 * H], the three side by side -> [T, H], a new tensor of its dtype, d = H / num_heads. Sequences of
    about equal length run as one dense batch, padded and masked; padding has exactly the weight 0. A VarlenPacking is
    computed by `varlen_attention`, without dropout.
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


def varlen_attention(qkv: Tensor, packing: VarlenPacking, num_heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V within each sequence of the packing; the softmax in float32.

    qkv [T, 3 * H], the three side by side, float16 or bfloat16 on CUDA -> [T, H], a new tensor, d = H / num_heads.
    """
    from torch.nn.attention.varlen import varlen_attn  # imports torch's compiler, 1.5 s: only on a GPU

    query, key, value = qkv.view(len(qkv), 3, num_heads, -1).unbind(1)
    longest = packing.max_length
    attended = varlen_attn(query, key, value, packing.cu_seqlens, packing.cu_seqlens, longest, longest)
    return cast(Tensor, attended).flatten(1)


def supports_varlen(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether `varlen_attention` supports heads of that dtype and size on that device."""
    takes_heads = dtype in (torch.float16, torch.bfloat16) and head_size % 8 == 0 and head_size <= MAX_HEAD_SIZE
    return device.type == "cuda" and takes_heads and torch.cuda.get_device_capability(device) >= OLDEST_GPU
