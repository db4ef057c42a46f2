"""The kernels in C on bfloat16 against the same numbers in float64, in every variant that the machine can run."""

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from adapters.backbone.attention import packed_attention
from adapters.backbone.layers import NativeNorm, Norm
from adapters.backbone.native import library, native_attention, native_dense, native_mean
from adapters.backbone.packing import Packing
from adapters.serving.bank import AdapterBank, SegmentRows
from tests.adapters.backbone.test_native import HEADS, needs_kernels, random_qkv
from tests.adapters.backbone.test_native_adapters import SHAPES, identity
from tests.support.factories import make_adapter
from tests.support.reference import adakron_equation

pytestmark = needs_kernels
ROUNDING = 2.0**-7  # the distance of neighbouring numbers in bfloat16, relative to the smaller one
HIDDEN_SIZES = [384, 64, 48, 40, 36]  # multiples of 32, 16, 8 and 4: of each variant's vectors


@pytest.fixture(params=["AMX", "AVX512-BF16", "AVX-512", "AVX2", "plain"], autouse=True)
def variant(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hide from the kernels what the processor has beyond a level; a level that it lacks is the next one again."""
    loaded = library()
    assert loaded is not None
    before = loaded.adakron_set_level(ctypes.c_int64(4 - request.param_index))
    yield
    loaded.adakron_set_level(ctypes.c_int64(before))


def attend(qkv: Tensor, packing: Packing, num_heads: int) -> Tensor:
    return native_attention(qkv, packing, num_heads).double()


@pytest.mark.parametrize("length", [*range(1, 34), 47, 48, 49, 63, 64, 65, 130, 511, 512])
def test_attention_of_every_length(length: int) -> None:
    """Each number is the formula's, within the rounding of the weights and of the result."""
    packing = Packing.of([length, 1, length])
    for num_heads, head_size in HEADS:
        qkv = random_qkv(packing, num_heads, head_size).bfloat16()
        exact = packed_attention(qkv.double(), packing, num_heads)
        values = qkv.double()[:, 2 * num_heads * head_size :]
        magnitude = packed_attention(
            torch.cat([qkv.double()[:, : -values.shape[1]], values.abs()], 1), packing, num_heads
        )
        assert ((attend(qkv, packing, num_heads) - exact).abs() / magnitude).max() < ROUNDING


@pytest.mark.parametrize("score", [-3e4, 0.0, 3e4])
def test_attention_with_equal_scores(score: float) -> None:
    """If all scores are equal, however large, each token gets the mean of the values."""
    packing = Packing.of([37])
    qkv = torch.zeros(37, 3 * 32).bfloat16()
    qkv[:, 0], qkv[:, 32] = 32**0.5, score
    qkv[:, 64:] = torch.randn(37, 32)
    found = attend(qkv, packing, 1)
    assert torch.allclose(found, qkv[:, 64:].double().mean(0).expand(37, 32), atol=ROUNDING)


@pytest.mark.parametrize(("num_heads", "head_size"), HEADS)
def test_attention_is_the_same_in_any_company(num_heads: int, head_size: int) -> None:
    """A sequence has its result bit for bit, alone and among others, in any order and by any number of threads."""
    sizes = [28, 3, 130, 17, 64, 1]
    qkv = random_qkv(Packing.of(sizes), num_heads, head_size).bfloat16()
    pieces = torch.split(qkv, sizes)
    alone = [attend(piece, Packing.of([len(piece)]), num_heads) for piece in pieces]
    before = torch.get_num_threads()
    try:
        for order in (range(6), [5, 2, 4, 0, 1, 3]):
            for num_threads in (1, 3):
                torch.set_num_threads(num_threads)
                lengths = [sizes[i] for i in order]
                together = attend(torch.cat([pieces[i] for i in order]), Packing.of(lengths), num_heads)
                for i, rows in zip(order, torch.split(together, lengths), strict=True):
                    assert torch.equal(rows, alone[i])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("head_size", [32, 16, 24, 12])
def test_attention_hides_no_broken_number(part: int, head_size: int) -> None:
    """NaN stays within its own sequence, whose length is odd: half of the last unit belongs to the next one."""
    packing = Packing.of([9, 21, 5], num_rows=40)
    qkv = random_qkv(packing, 1, head_size).bfloat16()
    qkv[12, part * head_size] = torch.nan
    found = native_attention(qkv, packing, 1)
    assert found[12].isnan().any()
    assert not torch.cat([found[:9], found[30:]]).isnan().any()
    assert not found[35:].any()


@pytest.mark.parametrize("hidden_size", HIDDEN_SIZES)
@pytest.mark.parametrize("num_rows", [1, 3, 4, 9])
def test_norm_in_two_types(hidden_size: int, num_rows: int) -> None:
    """LayerNorm of x + residual is the formula's, also in float32, and the same bits for a row alone."""
    torch.manual_seed(num_rows)
    norm = Norm(hidden_size, eps=1e-12).requires_grad_(False)
    norm.weight.normal_()
    norm.bias.normal_()
    native = NativeNorm(norm)
    residual = torch.randn(num_rows, hidden_size)
    x = (torch.randn(num_rows, hidden_size) + 3).bfloat16()
    rows = [slice(i, i + 1) for i in range(num_rows)]
    alone = [native(x[row].clone(), residual[row].clone()) for row in rows]
    exact, _ = norm.double()(x.double(), residual.double())
    found, next_residual = native(x, residual)
    assert next_residual is residual
    assert torch.allclose(next_residual.double(), exact, atol=1e-5)
    assert torch.equal(found, next_residual.bfloat16())
    assert torch.equal(found, torch.cat([one for one, _ in alone]))
    assert torch.equal(next_residual, torch.cat([one for _, one in alone]))


@pytest.mark.parametrize("hidden_size", [32, 16, 8, 4])
def test_numbers_are_rounded_to_the_nearest(hidden_size: int) -> None:
    """The rounding is torch's, ties and infinity included; NaN stays NaN."""
    exact = torch.tensor([1.0, 1.00390625, 1.01171875, -1.00390625, 3.3e38, torch.inf, torch.nan, 1e-30])
    norm = NativeNorm(Norm(hidden_size).requires_grad_(False))
    for value in exact:
        norm.weight, norm.bias = torch.zeros(hidden_size), value.expand(hidden_size).contiguous()
        found, _ = norm(torch.randn(1, hidden_size).bfloat16(), torch.zeros(1, hidden_size))
        assert torch.equal(found.isnan(), value.bfloat16().expand(1, hidden_size).isnan())
        assert value.isnan() or torch.equal(found, value.bfloat16().expand(1, hidden_size))


@pytest.mark.parametrize("hidden_size", HIDDEN_SIZES)
def test_adapters_of_a_mixed_batch(hidden_size: int) -> None:
    """Each row gets its adapter's equation, for any p, q, layers and number of rows, the same bits alone."""
    rng = np.random.default_rng(hidden_size)
    bank = AdapterBank(hidden_size, "cpu", torch.bfloat16)
    adapters = []
    for slot, (p, q, layers) in enumerate(SHAPES[:-1]):  # the last one is too wide for C
        adapters.append(make_adapter(identity=identity(hidden_size), p=p, q=q, layers=layers, seed=slot))
        for name, tensor in adapters[-1].tensors.items():
            if name.startswith("layers"):
                tensor.copy_(tensor.bfloat16())
        bank.write(slot, adapters[-1])
    sizes = rng.integers(1, 9, 12)
    sizes[0] = 70
    ends = np.cumsum(sizes)
    segments = [
        SegmentRows(i % len(adapters), int(e - n), int(e)) for i, (e, n) in enumerate(zip(ends, sizes, strict=True))
    ]
    for layer in range(3):
        before = torch.randn(int(ends[-1]) + 3, hidden_size).bfloat16()
        h = bank.apply(layer, before.clone(), segments)
        alone = bank.apply(
            layer,
            before.clone(),
            [SegmentRows(s.slot, row, row + 1) for s in segments for row in range(s.start, s.stop)],
        )
        assert torch.equal(h, alone)
        for segment in segments:
            rows, adapter = slice(segment.start, segment.stop), adapters[segment.slot]
            if layer not in adapter.metadata.layers:
                assert torch.equal(h[rows], before[rows])
                continue
            exact = adakron_equation(before[rows].double(), adapter, layer)
            added = (exact - before[rows].double()).abs().max()
            assert ((h[rows] - exact).abs() <= exact.abs() * ROUNDING / 2 + added * ROUNDING).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hidden_size", HIDDEN_SIZES)
def test_means_and_dense_layers(dtype: torch.dtype, hidden_size: int) -> None:
    """Both are float32 and the formula's; a sequence's mean and a row's products are the same bits in any company."""
    sizes = [1, 5, 130, 28, 2]
    packing = Packing.of(sizes, num_rows=176)
    h = torch.randn(176, hidden_size).to(dtype)
    means = native_mean(h, packing)
    pieces = torch.split(h[: sum(sizes)], sizes)
    assert torch.allclose(means.double(), torch.stack([piece.double().mean(0) for piece in pieces]), atol=1e-6)
    assert torch.equal(means, torch.cat([native_mean(piece, Packing.of([len(piece)])) for piece in pieces]))
    for width in (1, 2, 3, 77):
        weight, bias = torch.randn(width, hidden_size).to(dtype), torch.randn(width).to(dtype)
        found = native_dense(h, weight, bias)
        assert torch.allclose(found.double(), h.double() @ weight.double().T + bias.double(), atol=1e-4)
        for num_rows in (1, 2, 3, 5):
            assert torch.equal(native_dense(h[7 : 7 + num_rows], weight, bias), found[7 : 7 + num_rows])


def test_means_and_dense_layers_refuse_what_they_cannot_read() -> None:
    """Too few rows, another width, another dtype or strided rows are an error, and no memory is touched."""
    h, packing = torch.randn(9, 32), Packing.of([4, 5])
    for wrong in (h[:8], h.double(), h.repeat(1, 2)[:, ::2]):
        with pytest.raises(ValueError, match=r"kernels|another"):
            native_mean(wrong, packing)
    weight, bias = torch.randn(2, 32), torch.randn(2)
    for x, w, b in (
        (h.bfloat16(), weight, bias),
        (h, weight[:, :16], bias),
        (h, weight, bias[:1]),
        (h, weight.T, bias),
    ):
        with pytest.raises(ValueError, match=r"kernels|fit together"):
            native_dense(x, w, b)
