"""Attention over sequences of any length in one launch, and that the backbone takes that way."""

import inspect

import numpy as np
import pytest
import torch
from torch.nn.attention.varlen import varlen_attn

from adapters.backbone.attention import VarlenPacking, packed_attention, supports_varlen
from adapters.backbone.packing import Packing
from tests.support.reference import slow_varlen_attn

LENGTHS = [5, 1, 9, 5, 2]


def varlen_packing(lengths: list[int], num_empty: int = 0, device: str = "cpu") -> VarlenPacking:
    bounds = np.concatenate([[0], np.cumsum(lengths), [sum(lengths)] * num_empty])
    positions = np.concatenate([np.arange(length) for length in lengths])
    return VarlenPacking(
        torch.tensor(bounds, dtype=torch.int32, device=device),
        torch.tensor(positions, dtype=torch.int32, device=device),
        max(lengths),
    )


@pytest.mark.parametrize("num_empty", [0, 3])
def test_equals_attention_by_groups(num_empty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VarlenPacking is handed to torch as it wants it, and gives what groups of equal length give."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", slow_varlen_attn)
    qkv = torch.randn(sum(LENGTHS), 3 * 24)
    got = packed_attention(qkv, varlen_packing(LENGTHS, num_empty), num_heads=3)
    assert torch.allclose(got, packed_attention(qkv, Packing.of(LENGTHS), num_heads=3), atol=1e-6)


def test_the_stand_in_has_torchs_parameters() -> None:
    """The slow stand-in has the signature of torch's function."""
    names = list(inspect.signature(varlen_attn).parameters)
    assert names[:7] == list(inspect.signature(slow_varlen_attn).parameters)


def test_what_torch_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flash attention takes two-byte types and heads of 8, 16, ... 256, from Ampere on; the rest goes by groups."""
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert supports_varlen(gpu, torch.bfloat16, 64)
    assert supports_varlen(gpu, torch.float16, 32)
    assert not supports_varlen(gpu, torch.float32, 64)
    assert not supports_varlen(gpu, torch.bfloat16, 12)
    assert not supports_varlen(gpu, torch.bfloat16, 264)
    assert not supports_varlen(torch.device("cpu"), torch.bfloat16, 64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not supports_varlen(gpu, torch.float16, 64)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_torchs_own(dtype: torch.dtype) -> None:
    """On a GPU, torch's function equals the slow one, also with empty sequences at the end and a larger bound."""
    qkv = torch.randn(sum(LENGTHS), 3 * 64).to(dtype)
    packing = varlen_packing(LENGTHS, 3, "cuda")
    bounds = VarlenPacking(packing.cu_seqlens, packing.positions, 512)
    expected = packed_attention(qkv.float(), Packing.of(LENGTHS), num_heads=2)
    for one in (packing, bounds):
        got = packed_attention(qkv.cuda(), one, num_heads=2).float().cpu()
        assert (got - expected).abs().max() < {torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
