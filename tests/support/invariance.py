"""How far an answer may depend on the other inputs of its batch.

A matrix product of another size is summed in another order, so the last bits of a logit differ between an input alone
and the same input in a batch. No other difference is allowed: batch-mates, their number and order, the mix of adapters
and earlier evictions have no effect.
"""

from collections.abc import Mapping

import numpy as np
import torch

# By device and dtype: absolute, and relative to the logit. Other combinations have not been measured.
BATCH_TOLERANCE: Mapping[tuple[str, torch.dtype], float] = {
    ("cpu", torch.float32): 1e-5,
    ("cpu", torch.bfloat16): 0.05,
}


def same_answer(alone: np.ndarray, together: np.ndarray, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the logits of one input, alone and in a batch, are equal within the tolerance."""
    tolerance = BATCH_TOLERANCE[device.type, dtype]
    return bool(np.isclose(together, alone, rtol=tolerance, atol=tolerance).all())
