"""Dense layers in int8 against slow integer arithmetic, and the whole backbone against float32."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adapters.backbone import quantized
from adapters.backbone.layers import Dense
from adapters.backbone.packing import Packing
from adapters.backbone.quantized import (
    QuantizedDense,
    dtype_name,
    int8_lanes,
    int8_tiles,
    load_packed,
    quantize_weight,
    split_outliers,
    why_not_int8,
)
from adapters.backbone.source import LoadedBackbone
from adapters.errors import BackboneError

needs_int8 = pytest.mark.skipif(why_not_int8("cpu") is not None, reason=str(why_not_int8("cpu")))
needs_tiles = pytest.mark.skipif(not int8_tiles(), reason="this processor has no AMX")
TILED = [(64, 16), (64, 80), (128, 64), (384, 1152), (1536, 384)]  # sizes that AMX multiplies
SIZES = [(16, 16), (64, 80), (384, 1152), (1536, 384), (24, 40), (8, 8), (40, 56)]  # whole vectors of 16 lanes, or of 8


def dense(depth: int, width: int, activation: str | None = None, seed: int = 0) -> Dense:
    """A layer with a bias and channels of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    layer = Dense(depth, width, activation=activation).requires_grad_(False)
    layer.weight.copy_(torch.randn(width, depth, generator=generator) * torch.rand(width, 1, generator=generator))
    layer.bias.copy_(torch.randn(width, generator=generator))
    return layer


def slowly(layer: Dense, x: Tensor) -> Tensor:
    """The product of x, rounded row by row, and the rounded weight, in float64."""
    cut, places, rest = split_outliers(layer.weight)
    numbers, scales = quantize_weight(cut)
    rows = []
    for row in x:
        least, most = min(float(row.min()), 0.0), max(float(row.max()), 0.0)
        scale = torch.tensor((most - least) / 255, dtype=torch.float32)
        zero = torch.round(-least / scale)
        rows.append((torch.clamp(torch.round(row / scale + zero), 0, 255) - zero).double() * scale.double())
    y = torch.stack(rows) @ (numbers.double() * scales.double()[:, None]).T + layer.bias.double()
    for (channel, place), weight in zip(places.tolist(), rest.double(), strict=True):
        y[:, channel] += x[:, place].double() * weight
    return layer.activation(y)  # type: ignore[no-any-return]


@needs_int8
@pytest.mark.parametrize(("depth", "width"), SIZES)
@pytest.mark.parametrize("activation", [None, "gelu", "relu"])
@pytest.mark.parametrize("num_rows", [1, 2, 5, 6, 7, 17, 97, 200])
@pytest.mark.parametrize("with_tiles", [False, pytest.param(True, marks=needs_tiles)])
def test_equals_integer_arithmetic(
    depth: int, width: int, activation: str | None, num_rows: int, with_tiles: bool
) -> None:
    """For every number of rows, with and without AMX, both widths of vectors, channels beyond the last whole block."""
    if with_tiles and not int8_tiles(depth, width):
        pytest.skip("AMX multiplies whole tiles")
    layer = dense(depth, width, activation)
    layer.weight[width // 2, 3] = 50.0  # an outlier, of which a part is multiplied in float32
    product = QuantizedDense(layer)
    product.with_tiles = with_tiles
    x = torch.randn(num_rows, depth)
    expected = slowly(layer, x)
    # a number exactly between two bytes may be rounded either way: one step of one byte
    step = float(((x.amax(1) - x.amin(1)) / 255).max() * split_outliers(layer.weight)[0].abs().max())
    assert (product(x) - expected).abs().max() < 1.1 * step + 1e-5
    assert (product(x) - expected).abs().mean() < 0.05 * step + 1e-5


@needs_tiles
@settings(deadline=None, max_examples=60)
@given(
    size=st.sampled_from(TILED),
    num_rows=st.integers(1, 220),
    with_gelu=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_amx_gives_the_same_bits(size: tuple[int, int], num_rows: int, with_gelu: bool, seed: int) -> None:
    """Tiles and vectors sum the same integers and round alike, for partial tiles, outliers and NaN."""
    depth, width = size
    layer = dense(depth, width, "gelu" if with_gelu else None, seed)
    layer.weight[width // 2, 3] = 100.0
    product = QuantizedDense(layer)
    assert product.with_tiles
    x = torch.randn(num_rows, depth, generator=torch.Generator().manual_seed(seed))
    x[num_rows // 3, 5] = float("nan")
    by_tiles = product(x)
    product.with_tiles = False
    by_vectors = product(x)
    assert torch.equal(by_tiles.view(torch.int32), by_vectors.view(torch.int32))
    assert by_tiles.isnan().any(1).nonzero().flatten().tolist() == [num_rows // 3]


@needs_tiles
def test_a_new_thread_may_use_tiles() -> None:
    """Each thread configures its tiles for a product and releases them: one that starts later gets the same bits."""
    layer = QuantizedDense(dense(384, 1152))
    x = torch.randn(50, 384)
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda _: layer(x), range(9)))
    assert all(torch.equal(result, layer(x)) for result in results)


@needs_int8
@settings(deadline=None, max_examples=60)
@given(data=st.data(), size=st.sampled_from(SIZES), num_rows=st.integers(1, 220), with_gelu=st.booleans())
def test_a_row_depends_on_itself_alone(
    data: st.DataObject, size: tuple[int, int], num_rows: int, with_gelu: bool
) -> None:
    """Bit for bit: whatever the other rows, their number and scale, one row included."""
    depth, width = size
    layer = dense(depth, width, "gelu" if with_gelu else None)
    layer.weight[width // 2, 3] = 100.0  # an outlier, of which a part is multiplied in float32
    product = QuantizedDense(layer)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    scale = data.draw(st.sampled_from([1e-6, 1.0, 1e6]))
    x = torch.randn(num_rows, depth, generator=generator) * scale ** torch.rand(num_rows, 1, generator=generator)
    together = product(x)
    start = data.draw(st.integers(0, num_rows - 1))
    stop = data.draw(st.integers(start + 1, num_rows))
    assert torch.equal(product(x[start:stop]), together[start:stop])
    assert torch.equal(product(x[start : start + 1]), together[start : start + 1])


@needs_int8
def test_threads_change_no_bit() -> None:
    """With several threads each block of rows and channels is computed by one of them, with the same result."""
    layer = QuantizedDense(dense(384, 1168, "gelu"))
    x, before = torch.randn(333, 384), torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            results.append(layer(x))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@needs_int8
def test_outliers_do_not_coarsen_their_channel() -> None:
    """A channel with one weight a hundred times the others is as exact as without it."""
    layer = dense(384, 64)
    x = torch.randn(50, 384)
    x[:, 7] = 0.0
    without = QuantizedDense(layer)(x)
    layer.weight[5, 7] = 100 * float(layer.weight[5].abs().max())
    assert (QuantizedDense(layer)(x) - without)[:, 5].abs().max() < 0.1 * without[:, 5].abs().max()
    x[:, 7] = 1.0
    error = (QuantizedDense(layer)(x) - layer(x))[:, 5].abs().max()
    assert error < 0.02 * layer(x)[:, 5].abs().min()


@needs_int8
@pytest.mark.parametrize("depth", [384, 24])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_visible(depth: int, value: float) -> None:
    """NaN or infinity anywhere in a row makes the whole row NaN, and no other."""
    layer = QuantizedDense(dense(depth, 48))
    for place in range(depth):
        x = torch.randn(3, depth)
        x[1, place] = value
        assert layer(x).isnan().all(1).tolist() == [False, True, False]
        assert not layer(x)[[0, 2]].isnan().any()


@needs_int8
def test_rows_without_a_range() -> None:
    """Rows of zeros, of one number and of the smallest numbers give the bias and products, not NaN."""
    layer = dense(64, 48)
    x = torch.stack([torch.zeros(64), torch.full((64,), -2.5), torch.full((64,), 1e-40)])
    y = QuantizedDense(layer)(x)
    assert torch.equal(y[0], layer.bias)
    assert torch.allclose(y[1], layer(x)[1], rtol=0.02, atol=0.1)
    assert torch.allclose(y[2], layer.bias)


@needs_int8
def test_what_does_not_fit_is_an_error() -> None:
    """Other shapes, types and layouts raise before memory is read; sizes without a kernel name the setting."""
    layer = QuantizedDense(dense(64, 48))
    for x in (torch.randn(3, 48), torch.randn(3, 64).double(), torch.randn(64, 3).T):
        with pytest.raises(ValueError, match="contiguous rows"):
            layer(x)
    with pytest.raises(BackboneError, match=r"ADAKRON_DTYPE=int8.*20 by 20.*set ADAKRON_DTYPE=auto"):
        QuantizedDense(dense(20, 20))


@needs_int8
def test_the_backbone_in_int8(real: LoadedBackbone) -> None:
    """Hidden states are near those of float32, equal alone and in a batch bit for bit, and weights take a quarter."""
    loaded = load_packed(str(real.source.folder), dtype="int8")
    assert (dtype_name(loaded.backbone), dtype_name(real.backbone)) == ("int8", "float32")
    lengths = [1, 30, 7, 128, 64]
    packing = Packing.of(lengths)
    ids = torch.randint(1000, 20_000, (sum(lengths),))
    with torch.inference_mode():
        expected = real.backbone(ids, torch.zeros_like(ids), packing)
        found = loaded.backbone(ids, torch.zeros_like(ids), packing)
        alone = [
            loaded.backbone(part, torch.zeros_like(part), Packing.of([len(part)])) for part in torch.split(ids, lengths)
        ]
    assert torch.equal(torch.cat(alone), found)
    assert torch.nn.functional.cosine_similarity(expected, found).min() > 0.97
    products = [module for module in loaded.backbone.modules() if isinstance(module, QuantizedDense)]
    assert len(products) == 4 * len(real.backbone.layers)
    in_bytes = sum(product.weight.nbytes for product in products)
    in_floats = sum(module.weight.nbytes for module in real.backbone.modules() if isinstance(module, Dense))
    assert in_bytes == in_floats // 4


@pytest.mark.parametrize(
    ("machine", "lanes", "device", "reason"),
    [
        ("x86_64", 16, "cpu", None),
        ("AMD64", 8, "cpu", None),
        ("x86_64", 0, "cpu", "no instructions for int8 products"),
        ("aarch64", 16, "cpu", "this one is aarch64"),
        ("x86_64", 16, "cuda:1", "the device is cuda:1"),
        ("x86_64", None, "cpu", "needs the compiled kernels"),
    ],
)
def test_refused_where_nothing_is_gained(
    monkeypatch: pytest.MonkeyPatch, machine: str, lanes: int | None, device: str, reason: str | None
) -> None:
    """One line names the setting, the reason and the remedy; where int8 is supported there is no reason."""
    kernels = (
        None if lanes is None else SimpleNamespace(adakron_int8_lanes=lambda depth, width: ctypes.c_int64(lanes).value)
    )
    monkeypatch.setattr(quantized, "_kernels", lambda: kernels)
    monkeypatch.setattr("platform.machine", lambda: machine)
    found = why_not_int8(device)
    assert found is None if reason is None else reason in str(found)
    if reason is not None:
        with pytest.raises(BackboneError, match=r"^ADAKRON_DTYPE=int8 \(--dtype\): .*; set ADAKRON_DTYPE=auto$"):
            load_packed("none", device=device, dtype="int8")


@needs_int8
def test_lanes_by_size() -> None:
    """Sizes that no vector divides have no kernel, and neither do sums that 32 bits cannot hold."""
    assert int8_lanes(20, 64) == int8_lanes(64, 20) == 0
    assert int8_lanes(2**20, 64) == 0
    assert not int8_tiles(96, 64)
    assert not int8_tiles(64, 24)
