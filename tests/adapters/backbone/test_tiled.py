"""Dense layers with the tiles of AMX against float64, each row on its own, in threads and in child processes."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adapters.backbone import tiled
from adapters.backbone.layers import Dense, PackedDense, can_pack
from adapters.backbone.tiled import TiledDense, can_tile, fastest_dense, to_tiles

CPU = torch.device("cpu")
needs_tiles = pytest.mark.skipif(not can_tile(CPU, torch.bfloat16), reason="no AMX, or no compiled kernels")
SIZES = [(384, 1152), (384, 384), (384, 1536), (1536, 384), (768, 3072), (3072, 768), (120, 344), (8, 5), (33, 47)]


def dense(depth: int, width: int, activation: str | None = None, seed: int = 0) -> Dense:
    """A layer in bfloat16 whose sums are about one in size."""
    generator = torch.Generator().manual_seed(seed)
    layer = Dense(depth, width, activation=activation).requires_grad_(False).eval()
    layer.weight.copy_(torch.randn(width, depth, generator=generator) / depth**0.5)
    layer.bias.copy_(torch.randn(width, generator=generator))
    return layer.bfloat16()


def rows_of(num_rows: int, depth: int, seed: int = 0) -> Tensor:
    return torch.randn(num_rows, depth, generator=torch.Generator().manual_seed(seed)).bfloat16()


def slowly(layer: Dense, x: Tensor) -> Tensor:
    """The layer in float64, of the same numbers in bfloat16."""
    return layer.activation(x.double() @ layer.weight.double().T + layer.bias.double())  # type: ignore[no-any-return]


@needs_tiles
@pytest.mark.parametrize(("depth", "width"), SIZES)
@pytest.mark.parametrize("activation", [None, "gelu", "relu"])
def test_equals_float64(depth: int, width: int, activation: str | None) -> None:
    """The result is float64's, rounded to bfloat16; neighbours of the rows in memory are not read."""
    layer = dense(depth, width, activation)
    for num_rows in (1, 15, 16, 17, 32, 33, 70):
        x = torch.full((num_rows + 2, depth), torch.nan, dtype=torch.bfloat16)
        x[1:-1] = rows_of(num_rows, depth)
        found, exact = TiledDense(layer)(x[1:-1]), slowly(layer, x[1:-1])
        assert found.dtype == torch.bfloat16
        assert torch.allclose(found.double(), exact, rtol=2**-8, atol=1e-5)


@needs_tiles
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SIZES), st.integers(1, 1100), st.integers(1, 200), st.integers(0, 900), st.integers(1, 3))
def test_a_row_depends_on_itself_alone(
    size: tuple[int, int], num_rows: int, length: int, start: int, num_threads: int
) -> None:
    """Any part of a batch has the bits that it has in the batch, and so has one row of it."""
    layer = TiledDense(dense(*size, activation="gelu"))
    x = rows_of(num_rows, size[0])
    part = slice(start % num_rows, start % num_rows + length)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(num_threads)
        whole, found = layer(x), layer(x[part])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, whole[part])
    assert torch.equal(layer(x[part][:1]), whole[part][:1])


@needs_tiles
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 3e38])
def test_a_bad_row_stays_alone(bad: float) -> None:
    """NaN, infinity and overflow in one row change no other row."""
    layer = TiledDense(dense(384, 1536, "gelu"))
    x = rows_of(40, 384)
    whole = layer(x)
    x[17, 5] = bad
    found = layer(x)
    others = torch.arange(40) != 17
    assert torch.equal(found[others], whole[others])
    assert not torch.equal(found[17], whole[17])


@needs_tiles
def test_gelu_is_within_float32() -> None:
    """GELU of every number between -20 and 20 is the exact one within float32, rounded to bfloat16."""
    layer = Dense(32, 1, activation="gelu").requires_grad_(False)
    layer.weight.zero_()[0, 0] = 1
    layer.bias.zero_()
    numbers = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    numbers = numbers[numbers.isfinite() & (numbers.abs() <= 20) & (numbers.abs() > 1e-30)]
    x = torch.zeros(len(numbers), 32, dtype=torch.bfloat16)
    x[:, 0] = numbers
    exact = torch.nn.functional.gelu(numbers.double())
    found = TiledDense(layer.bfloat16())(x)[:, 0].double()
    assert ((found - exact).abs() <= 2**-8 * exact.abs() + 1.2e-7 * numbers.abs()).all()


@needs_tiles
def test_threads_multiply_beside_onednn() -> None:
    """Four threads with tiles and oneDNN's products, which have another layout of tiles, do not disturb each other."""
    tiles, packed = TiledDense(dense(384, 384)), PackedDense(dense(384, 384))
    parts = [rows_of(n, 384, seed=n) for n in (7, 30, 64, 200)]
    alone = [(tiles(x), packed(x)) for x in parts]
    start = threading.Barrier(len(parts))

    def work(number: int) -> bool:
        start.wait()
        return all(
            torch.equal(tiles(parts[number]), alone[number][0]) and torch.equal(packed(parts[number]), alone[number][1])
            for _ in range(200)
        )

    with ThreadPoolExecutor(len(parts)) as pool:
        assert all(pool.map(work, range(len(parts))))


@needs_tiles
@pytest.mark.parametrize("asks_before", [False, True])
def test_forked_processes_multiply(asks_before: bool) -> None:
    """A process that is forked before or after its parent asked for the tiles computes the same as a fresh one."""
    source = f"""
import os, torch
torch.set_num_threads(1)
from adapters.backbone.tiled import TiledDense
from tests.adapters.backbone.test_tiled import dense, rows_of
if {asks_before}:
    TiledDense(dense(64, 64))(rows_of(20, 64))
child = os.fork()
found = float(TiledDense(dense(64, 64))(rows_of(20, 64)).double().sum())
if child == 0:
    os._exit(0 if found == {float(TiledDense(dense(64, 64))(rows_of(20, 64)).double().sum())!r} else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", source], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@needs_tiles
def test_wrong_rows_are_refused() -> None:
    """Another type, another width and rows with gaps raise ValueError before the kernel reads them."""
    layer = TiledDense(dense(64, 64))
    for x in (torch.zeros(4, 64), rows_of(4, 32), rows_of(4, 128)[:, ::2]):
        with pytest.raises(ValueError, match="contiguous rows of 64 numbers in bfloat16"):
            layer(x)


def test_layout() -> None:
    """Each number of a weight is in its panel, step, tile, pair and channel; the rest is zero."""
    weight = torch.randn(70, 40).bfloat16()
    tiles = to_tiles(weight)
    assert tiles.shape == (3, 2, 2, 16, 16, 2)
    for channel, depth in ((0, 0), (17, 33), (69, 39), (32, 1)):
        place = (channel // 32, depth // 32, channel % 32 // 16, depth % 32 // 2, channel % 16, depth % 2)
        assert tiles[place] == weight[channel, depth]
    assert tiles.count_nonzero() == weight.count_nonzero()


def test_only_with_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other types, devices and processors have oneDNN's products, where there are any."""
    assert not can_tile(CPU, torch.float32)
    assert not can_tile(torch.device("cuda"), torch.bfloat16)
    monkeypatch.setattr(tiled, "_kernels", lambda: None)
    assert fastest_dense(CPU, torch.bfloat16) is (PackedDense if can_pack(CPU, torch.bfloat16) else None)


@pytest.mark.skipif(not can_pack(CPU, torch.bfloat16), reason="oneDNN does not compute in bfloat16 here")
def test_without_amx_onednn_holds() -> None:
    """With AVX512-BF16 only, whose products are then oneDNN's, each row has the same bits for each number of rows."""
    source = """
import torch
from adapters.backbone.layers import PackedDense, packed_rows
from tests.adapters.backbone.test_tiled import dense, rows_of
torch.set_num_threads(1)
for depth, width in ((384, 1536), (1536, 384)):
    layer, x = PackedDense(dense(depth, width, "gelu")), rows_of(1088, depth)
    whole = layer(x)
    for number in {*map(packed_rows, range(1, 1089, 16)), 1, 2, 31}:
        assert torch.equal(layer(x[:number]), whole[:number]), (depth, number)
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", source], check=True, env=environment)
