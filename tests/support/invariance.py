"""How far an answer may depend on the other inputs of its batch.

With oneDNN's packed products and the kernels in C it depends on them by no bit. Where torch computes instead, a
product of another size may be summed in another order, so the last bits of a logit differ between an input alone and
the same input in a batch. No other difference is allowed: batch-mates, their number and order, the mix of adapters and
earlier evictions have no effect.
"""

from collections.abc import Mapping

import numpy as np
import torch

from adapters.backbone.encoder import Backbone
from adapters.backbone.native import widest_adapter

# By device and dtype, where torch computes: absolute, and relative to the logit. Others have not been measured.
BATCH_TOLERANCE: Mapping[tuple[str, torch.dtype], float] = {
    ("cpu", torch.float32): 1e-5,
    ("cpu", torch.bfloat16): 0.05,
}


def tolerance_of(backbone: Backbone, bottleneck: int = 0) -> float:
    """The tolerance for answers of `backbone`, as it is packed, with adapters whose p * q is at most `bottleneck`.

    0 if no bit of them depends on the batch.
    """
    device, dtype = backbone.device, backbone.dtype
    adapts_in_c = bottleneck <= widest_adapter(device, dtype, backbone.identity.hidden_size)
    return 0.0 if backbone.is_batch_invariant and adapts_in_c else BATCH_TOLERANCE[device.type, dtype]


def same_answer(alone: np.ndarray, together: np.ndarray, tolerance: float) -> bool:
    """Whether the logits of one input, alone and in a batch, are equal within the tolerance."""
    return bool(np.isclose(together, alone, rtol=tolerance, atol=tolerance).all())
