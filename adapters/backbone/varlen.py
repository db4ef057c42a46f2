"""Self-attention on a GPU: all sequences of a batch in one launch, whatever their lengths."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

MAX_HEAD_SIZE = 256  # of the flash attention that torch brings
OLDEST_GPU = (8, 0)  # compute capability: Ampere


@dataclass(frozen=True, eq=False)
class VarlenPacking:
    """Where N sequences lie in T tokens, for kernels that read it on the device."""

    cu_seqlens: Tensor  # [N + 1] int32: first row of each sequence, then T; sequences may be empty
    positions: Tensor  # [T] int32: 0, 1, ... within each sequence
    max_length: int  # no sequence is longer


def varlen_attention(qkv: Tensor, packing: VarlenPacking, num_heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V within each sequence of the packing; the softmax in float32.

    qkv [T, 3 * H], the three side by side, float16 or bfloat16 on CUDA -> [T, H], a new tensor, d = H / num_heads.
    """
    from torch.nn.attention.varlen import varlen_attn  # brings torch's compiler along: 1.5 s, for a GPU only

    query, key, value = qkv.view(len(qkv), 3, num_heads, -1).unbind(1)
    longest = packing.max_length
    attended = varlen_attn(query, key, value, packing.cu_seqlens, packing.cu_seqlens, longest, longest)
    return cast(Tensor, attended).flatten(1)


def supports_varlen(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether `varlen_attention` takes heads of that type and size there."""
    takes_heads = dtype in (torch.float16, torch.bfloat16) and head_size % 8 == 0 and head_size <= MAX_HEAD_SIZE
    return device.type == "cuda" and takes_heads and torch.cuda.get_device_capability(device) >= OLDEST_GPU
