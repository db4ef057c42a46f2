"""How far an answer may depend on what is computed beside it.

A product of other sizes is summed in another order, so the last bits of a logit differ between an input alone and the
same input in a batch. Nothing else may differ: not for batch-mates, their number or order, the mix of adapters, or
what was evicted and loaded again before.
"""

from collections.abc import Mapping

import numpy as np
import torch

# By device and type: of a logit, plus as much of its size. What is not here has not been measured.
BATCH_TOLERANCE: Mapping[tuple[str, torch.dtype], float] = {
    ("cpu", torch.float32): 1e-5,
    ("cpu", torch.bfloat16): 0.05,
}


def same_answer(alone: np.ndarray, together: np.ndarray, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether logits of one input, alone and in company, are the same within the tolerance."""
    tolerance = BATCH_TOLERANCE[device.type, dtype]
    return bool(np.isclose(together, alone, rtol=tolerance, atol=tolerance).all())
