"""The adapters of a mixed batch in C against the equation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from adapters.adapter import Adapter
from adapters.config import BackboneIdentity
from adapters.serving.bank import AdapterBank, SegmentRows
from tests.adapters.backbone.test_encoder import POPULARITY
from tests.adapters.backbone.test_native import needs_kernels
from tests.support.factories import make_adapter
from tests.support.reference import adakron_equation


def identity(hidden_size: int) -> BackboneIdentity:
    return BackboneIdentity(
        name="none", hidden_size=hidden_size, num_layers=3, weights_sha256="0" * 64, tokenizer_sha256="0" * 64
    )


def bank_of(adapters: Sequence[Adapter], hidden_size: int) -> AdapterBank:
    bank = AdapterBank(hidden_size, "cpu", torch.float32)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    return bank


SHAPES = [
    (12, 4, (0, 1, 2)),
    (3, 4, (2,)),
    (1, 1, (0, 1)),
    (5, 7, (0, 2)),
    (64, 8, (0,)),
    (1, 30, (1, 2)),
    (30, 20, (0,)),
]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("popularity", POPULARITY)
@pytest.mark.parametrize("hidden_size", [384, 48, 40, 36])
def test_adapters_of_a_mixed_batch(popularity: str, hidden_size: int) -> None:
    """Each row gets its adapter's equation for any p, q and layers, also if one adapter is too wide for C."""
    rng = np.random.default_rng(hidden_size)
    adapters = [
        make_adapter(identity=identity(hidden_size), p=p, q=q, layers=layers, seed=seed)
        for seed, (p, q, layers) in enumerate(SHAPES)
    ]
    bank = bank_of(adapters, hidden_size)
    which = POPULARITY[popularity](24, len(adapters), rng)
    sizes = np.ones(24, dtype=int) if popularity == "distinct" else rng.integers(1, 9, 24)
    sizes[0] = 70
    ends = np.cumsum(sizes) + 2  # two rows of no segment before, three behind
    segments = [SegmentRows(int(s), int(e - n), int(e)) for s, e, n in zip(which, ends, sizes, strict=True)]
    for layer in range(3):
        h = torch.randn(int(ends[-1]) + 3, hidden_size)
        before = h.clone()
        assert bank.apply(layer, h, segments) is h
        assert torch.equal(h[:2], before[:2])
        assert torch.equal(h[ends[-1] :], before[ends[-1] :])
        for segment in segments:
            rows, adapter = slice(segment.start, segment.stop), adapters[segment.slot]
            if layer not in adapter.metadata.layers:
                assert torch.equal(h[rows], before[rows])
            else:
                expected = adakron_equation(before[rows].double(), adapter, layer)
                # The same sum without signs: rounding, in whatever order a processor adds, goes by what is summed.
                unsigned = replace(adapter, tensors={name: t.abs() for name, t in adapter.tensors.items()})
                summed = adakron_equation(before[rows].double().abs(), unsigned, layer)
                assert ((h[rows] - expected).abs() / summed).max() < 8 * torch.finfo(torch.float32).eps


@needs_kernels
@pytest.mark.parametrize("num_rows", [1, 2, 3, 5, 8, 31, 64, 65, 129, 200])
def test_adapters_give_a_row_the_same_bits(num_rows: int) -> None:
    """A row's result hangs on itself alone: not on how many rows its segment has, nor on its place there."""
    bank = bank_of([make_adapter(identity=identity(384), p=12, layers=(0,))], 384)
    h = torch.randn(num_rows, 384)
    whole = bank.apply(0, h.clone(), [SegmentRows(0, 0, num_rows)])
    turned = bank.apply(0, h.flip(0), [SegmentRows(0, 0, num_rows)]).flip(0)
    alone = bank.apply(0, h.clone(), [SegmentRows(0, row, row + 1) for row in range(num_rows)])
    assert torch.equal(whole, turned)
    assert torch.equal(whole, alone)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("hidden_size", [16, 24, 12])
def test_gelu_is_the_exact_one(hidden_size: int) -> None:
    """GELU from -30 to 30, NaN included, equals the formula to 3e-7 of its argument."""
    adapter = make_adapter(identity=identity(hidden_size), p=1, q=1, layers=(0,))
    for name, tensor in adapter.tensors.items():
        if name.startswith("layers"):
            tensor.zero_()
    adapter.tensors["layers.0.down_b.bias"].fill_(1)
    adapter.tensors["layers.0.down_a.weight"][0, 0] = 1
    adapter.tensors["layers.0.up.weight"][1, 0] = 1
    x = torch.cat([torch.linspace(-30, 30, 6001), torch.linspace(-1e-3, 1e-3, 999)])
    h = torch.zeros(len(x) + 1, hidden_size)
    h[:-1, 0], h[-1, 0] = x, torch.nan
    found = bank_of([adapter], hidden_size).apply(0, h, [SegmentRows(0, 0, len(h))])[:, 1]
    expected = torch.nn.functional.gelu(x.double())
    assert ((found[:-1] - expected).abs() < 3e-7 * x.abs().clamp(min=1)).all()
    assert found[-1].isnan()


@needs_kernels
def test_adapters_refuse_what_is_not_their_batch() -> None:
    """Too few rows, another dtype or strided rows are an error, and no memory is touched."""
    site = bank_of([make_adapter()], 32).site([SegmentRows(0, 0, 5)])
    for wrong in (torch.zeros(4, 32), torch.zeros(5, 32).double(), torch.zeros(5, 64)[:, ::2], torch.zeros(5, 16)):
        with pytest.raises(ValueError, match=r"batch|kernels"):
            site(0, wrong)


def test_a_batch_keeps_its_adapters() -> None:
    """A batch uses the adapters that its slots held at its start, even if a slot is cleared meanwhile."""
    bank = bank_of([make_adapter()], 32)
    h = torch.randn(5, 32)
    segments = [SegmentRows(0, 0, 5)]
    expected = bank.apply(1, h.clone(), segments)
    site = bank.site(segments)
    bank.clear(0)
    bank.write(0, make_adapter(seed=9))
    assert torch.equal(site(1, h), expected)
