"""The fused kernel against the equation, one token at a time; interpreted on machines without a GPU."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

from adapters.adapter import Adapter
from adapters.config import BackboneIdentity
from adapters.cuda.fused_kernel import MAX_PADDED_RANK, ROWS_PER_TILE, KernelShape, add_adapters, block_columns
from tests.support.factories import make_adapter
from tests.support.kernels import DEVICE, POPULARITY, bank_with, mend_bfloat16_products, tables_for, widest
from tests.support.reference import adakron_equation

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # of the largest value


@pytest.fixture(autouse=True)
def _bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    mend_bfloat16_products(monkeypatch)


def identity(hidden_size: int, num_layers: int = 2) -> BackboneIdentity:
    return BackboneIdentity(
        name="any", hidden_size=hidden_size, num_layers=num_layers, weights_sha256="0" * 64, tokenizer_sha256="0" * 64
    )


def check(adapters: list, num_rows: list[int], dtype: torch.dtype, layer: int = 0, shape: KernelShape | None = None):
    """Compare one launch over segments of these sizes, followed by three rows of no segment, with the equation."""
    bank = bank_with(adapters, dtype)
    tables = tables_for(bank, [[count] if count else [] for count in num_rows])
    hidden = adapters[0].metadata.backbone.hidden_size
    h = torch.randn(sum(num_rows) + 3, hidden).to(dtype)
    shape = shape or KernelShape.covering((adapter.metadata.p, adapter.metadata.q) for adapter in adapters)
    given = h.clone().to(DEVICE)
    got = add_adapters(given, tables.tiles, tables.bottlenecks, tables.addresses, layer, shape)
    assert got is given
    got, at = got.cpu(), 0
    for adapter, count in zip(adapters, num_rows, strict=True):
        before, after = h[at : at + count], got[at : at + count]
        at += count
        if count == 0 or layer not in adapter.metadata.layers:
            assert torch.equal(after, before)
            continue
        expected = adakron_equation(before.float(), adapter, layer)
        allowed = TOLERANCE[dtype] * max(1.0, widest(expected))
        assert widest(expected - before.float()) > 4 * allowed  # leaving the adapter out would show
        assert widest(after.float() - expected) <= allowed
    assert torch.equal(got[at:], h[at:])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("popularity", POPULARITY)
def test_equals_the_equation(popularity: str, dtype: torch.dtype) -> None:
    """However rows are spread over adapters, each gets its own adapter's equation and no other row moves."""
    shapes = [(3, 4), (5, 2), (12, 4), (1, 1), (8, 4)]
    adapters = [make_adapter(identity=identity(48), p=p, q=q, seed=seed) for seed, (p, q) in enumerate(shapes)]
    check([strong(adapter) for adapter in adapters], POPULARITY[popularity](5, np.random.default_rng(0)), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("hidden", [384, 768, 1024])
def test_hidden_sizes_of_real_backbones(hidden: int, dtype: torch.dtype) -> None:
    """The kernel equals the equation at the sizes of MiniLM, BERT-base and BERT-large, in blocks of columns."""
    adapters = [strong(make_adapter(identity=identity(hidden), p=12, q=4, seed=seed)) for seed in range(2)]
    check(adapters, [17, 5], dtype)


@pytest.mark.parametrize(("p", "q"), [(24, 8), (16, 16), (100, 1), (30, 3)])
def test_wide_bottlenecks(p: int, q: int) -> None:
    """Bottlenecks beyond the paper's run in a wider kernel, side by side with the paper's."""
    adapters = [strong(make_adapter(identity=identity(64), p=p, q=q)), strong(make_adapter(identity=identity(64)))]
    check(adapters, [20, 3], torch.float32)


def test_layers_without_an_adapter_pass_through() -> None:
    """An adapter of the upper layer only leaves the rows of the lower one as they are, beside one that does not."""
    adapters = [strong(make_adapter(layers=(1,))), strong(make_adapter(seed=1))]
    check(adapters, [20, 20], torch.float32, layer=0)
    check(adapters, [20, 20], torch.float32, layer=1)


def test_rows_do_not_depend_on_their_tile() -> None:
    """A row's result is bit for bit the same alone and as the last of a tile.

    In the interpreter NumPy multiplies, which on some processors rounds the last rows of a matrix differently.
    """
    adapter = strong(make_adapter(identity=identity(48)))
    bank = bank_with([adapter], torch.float32)
    h = torch.randn(ROWS_PER_TILE, 48)
    together, alone = h.clone().to(DEVICE), h[-1:].clone().to(DEVICE)
    for rows in (together, alone):
        tables = tables_for(bank, [[len(rows)]])
        add_adapters(rows, tables.tiles, tables.bottlenecks, tables.addresses, 0, KernelShape(4, 16))
    if DEVICE == "cuda":
        assert torch.equal(together[-1:], alone)
    else:
        torch.testing.assert_close(together[-1:], alone, rtol=1e-6, atol=1e-6)


def test_a_wider_kernel_gives_the_same() -> None:
    """An adapter that shares a batch with a wider one gets its own equation still."""
    check([strong(make_adapter())], [5], torch.float32, shape=KernelShape(8, 64))


def test_infinities_of_padding_stay_out() -> None:
    """Products that are no part of z may overflow the type: they never reach a row."""
    adapter = make_adapter()
    adapter.tensors["layers.0.down_a.bias"].fill_(0.01)
    adapter.tensors["layers.0.down_b.bias"].fill_(300.0)  # b (x) b is beyond float16, b (x) a is 3
    bank = bank_with([adapter], torch.float16)
    tables = tables_for(bank, [[4]])
    h = torch.zeros(4, 32, dtype=torch.float16, device=DEVICE)
    got = add_adapters(h, tables.tiles, tables.bottlenecks, tables.addresses, 0, KernelShape(4, 16))
    assert torch.isfinite(got).all()


def test_kernel_shapes() -> None:
    """A shape holds its adapters in powers of two, is never below the paper's, and knows what is too wide."""
    assert KernelShape.covering([]) == KernelShape.covering([(12, 4), (8, 4)]) == KernelShape(q=4, width=16)
    assert KernelShape.covering([(24, 8)]) == KernelShape(q=8, width=32)
    assert KernelShape.covering([(1, 5), (40, 1)]) == KernelShape(q=8, width=64)
    assert KernelShape(8, 64).fits
    assert not KernelShape.covering([(1024, 1)]).fits
    assert KernelShape(8, 64).padded_rank == MAX_PADDED_RANK


def test_blocks_of_columns_fit_the_memory() -> None:
    """A program holds a bounded part of W_up for any bottleneck, and no more columns than h has."""
    assert block_columns(768, KernelShape(4, 16)) == 128
    assert block_columns(768, KernelShape(8, 64)) == 16
    assert block_columns(32, KernelShape(4, 16)) == 32


def strong(adapter: Adapter, by: float = 6.0) -> Adapter:
    """Return the adapter with weights so large that leaving it out would show in bfloat16."""
    for name, tensor in adapter.tensors.items():
        if name.startswith("layers"):
            tensor.mul_(by)
    return adapter
