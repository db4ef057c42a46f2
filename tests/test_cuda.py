"""The same forward on a GPU, in float32 and bfloat16; skipped where there is none."""

import numpy as np
import pytest
import torch

from adapters.bank import AdapterBank, SegmentRows
from adapters.packing import Packing
from adapters.source import load_backbone
from tests.factories import make_adapter

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def hidden_states(device: str, dtype: torch.dtype) -> torch.Tensor:
    """A mixed batch on the default backbone: [T, H] on the CPU in float32."""
    loaded = load_backbone(device=device, dtype=dtype)
    bank = AdapterBank(loaded.identity.hidden_size, device, dtype)
    for slot in range(2):
        bank.write(slot, make_adapter(identity=loaded.identity, p=12, layers=range(6), seed=slot))
    texts = ["a text", "one rather longer text with a comma, and an end .", ("a pair", "of texts"), "?"]
    encodings = loaded.encoder.encode(texts, max_length=64)
    token_ids = torch.from_numpy(np.concatenate([item.token_ids for item in encodings])).to(device)
    type_ids = torch.from_numpy(np.concatenate([item.type_ids for item in encodings])).to(device)
    middle = len(encodings[0]) + len(encodings[1])
    rows = [SegmentRows(0, 0, middle), SegmentRows(1, middle, len(token_ids))]
    packing = Packing.of([len(item) for item in encodings], device)
    with torch.inference_mode():
        hidden = loaded.backbone(token_ids, type_ids, packing, lambda layer, h: bank.apply(layer, h, rows))
    return hidden.float().cpu()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
def test_gpu_equals_cpu(dtype: torch.dtype, tolerance: float) -> None:
    """A mixed batch on the GPU gives the CPU's hidden states within the type's precision."""
    expected = hidden_states("cpu", torch.float32)
    assert (hidden_states("cuda", dtype) - expected).abs().max() < tolerance
