"""The kernels in C against the same in torch, in float64."""

import copy
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import hatch_build
from adapters.backbone import native
from adapters.backbone.attention import packed_attention
from adapters.backbone.layers import NativeNorm, Norm
from adapters.backbone.native import can_attend, library, native_attention, widest_adapter
from adapters.backbone.packing import Packing
from tests.adapters.backbone.test_encoder import identity_of, random_bert
from tests.support.reference import backbone_of

CPU = torch.device("cpu")
needs_kernels = pytest.mark.skipif(library() is None, reason="the kernels are not compiled (python hatch_build.py)")
HEADS = [(12, 32), (4, 64), (2, 16), (5, 24), (4, 12), (1, 128)]  # of 16, 8 and 4 floats at once


def random_qkv(packing: Packing, num_heads: int, head_size: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(len(packing.positions), 3 * num_heads * head_size)


def exact(qkv: Tensor, packing: Packing, num_heads: int) -> Tensor:
    return packed_attention(qkv.double(), packing, num_heads)


@needs_kernels
@pytest.mark.parametrize(("num_heads", "head_size"), HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_attention_over_random_lengths(num_heads: int, head_size: int, seed: int) -> None:
    """Each row equals the formula to 2e-6, for sequences of 1 to 512 tokens and every head size."""
    rng = np.random.default_rng(seed)
    packing = Packing.of([1, 512, 2, *rng.integers(1, 513, 3), *rng.integers(1, 65, 20)])
    qkv = random_qkv(packing, num_heads, head_size)
    error = (native_attention(qkv, packing, num_heads) - exact(qkv, packing, num_heads)).abs().max()
    assert error < 2e-6


@needs_kernels
@pytest.mark.parametrize("length", [*range(1, 70), 511])
def test_attention_of_every_length(length: int) -> None:
    """No length falls between the blocks of the kernel."""
    packing = Packing.of([length] * 2)
    for num_heads, head_size in HEADS:
        qkv = random_qkv(packing, num_heads, head_size)
        assert (native_attention(qkv, packing, num_heads) - exact(qkv, packing, num_heads)).abs().max() < 2e-6


@needs_kernels
@pytest.mark.parametrize("scale", [1e-20, 1e-3, 10.0, 1e3, 1e9])
@pytest.mark.parametrize("head_size", [32, 24, 12])
def test_attention_with_extreme_scores(scale: float, head_size: int) -> None:
    """Vanishing or huge, of either sign, scores give numbers: the formula's, as far as the scores can be rounded."""
    packing = Packing.of([40, 7, 1])
    qkv = random_qkv(packing, 2, head_size)
    qkv[:, : 4 * head_size] *= scale**0.5
    found = native_attention(qkv, packing, 2)
    assert found.isfinite().all()
    queries, keys, _ = qkv.view(48, 3, 2, head_size).unbind(1)
    greatest = queries.norm(dim=-1).max() * keys.norm(dim=-1).max() / head_size**0.5
    assert (found - exact(qkv, packing, 2)).abs().max() < 2e-6 + 2 * greatest * torch.finfo(torch.float32).eps


@needs_kernels
@pytest.mark.parametrize("score", [-3e4, 0.0, 3e4])
def test_attention_with_equal_scores(score: float) -> None:
    """If all scores are equal, however large, each token gets the mean of the values."""
    packing = Packing.of([37])
    qkv = torch.zeros(37, 3 * 32)
    qkv[:, 0], qkv[:, 32] = 32**0.5, score
    qkv[:, 64:] = torch.randn(37, 32)
    assert torch.allclose(native_attention(qkv, packing, 1), qkv[:, 64:].mean(0).expand(37, 32), atol=1e-6)


@needs_kernels
def test_attention_is_the_same_in_any_company() -> None:
    """A sequence has its result bit for bit, alone and among others, in any order and by any number of threads."""
    sizes = [28, 3, 130, 17, 64, 1]
    packing = Packing.of(sizes)
    qkv = random_qkv(packing, 12, 32)
    before = torch.get_num_threads()
    together = torch.split(native_attention(qkv, packing, 12), sizes)
    pieces = torch.split(qkv, sizes)
    try:
        for order in (range(6), [5, 2, 4, 0, 1, 3]):
            for num_threads in (1, 3):
                torch.set_num_threads(num_threads)
                mixed = native_attention(
                    torch.cat([pieces[i] for i in order]), Packing.of([sizes[i] for i in order]), 12
                )
                for i, rows in zip(order, torch.split(mixed, [sizes[i] for i in order]), strict=True):
                    assert torch.equal(rows, together[i])
    finally:
        torch.set_num_threads(before)
    for piece, rows in zip(pieces, together, strict=True):
        assert torch.equal(native_attention(piece, Packing.of([len(piece)]), 12), rows)


@needs_kernels
@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("head_size", [32, 24, 12])
def test_attention_hides_no_broken_number(part: int, head_size: int) -> None:
    """NaN stays within its own sequence."""
    packing = Packing.of([9, 20, 5], num_rows=40)
    qkv = random_qkv(packing, 1, head_size)
    qkv[12, part * head_size] = torch.nan
    found = native_attention(qkv, packing, 1)
    assert found[12].isnan().any()
    assert torch.equal(found[:9].isnan().any() | found[29:].isnan().any(), torch.tensor(False))
    assert not found[34:].any()


@needs_kernels
def test_attention_refuses_what_it_cannot_read() -> None:
    """Too long, of another batch, not contiguous or of another type: an error, and no memory is touched."""
    packing = Packing.of([5])
    qkv = random_qkv(packing, 2, 16)
    for wrong in (qkv[:4], qkv.double(), qkv.repeat(1, 2)[:, ::2], qkv[:, :-1]):
        with pytest.raises(ValueError, match=r"kernels|another|fit together"):
            native_attention(wrong, packing, 2)
    with pytest.raises(ValueError, match="do not support"):
        native_attention(torch.zeros(513, 96), Packing.of([513]), 2)


@needs_kernels
def test_only_where_they_run() -> None:
    """float32 and bfloat16 on the CPU, heads of a multiple of 4 up to 128, sequences up to 512."""
    for dtype in (torch.float32, torch.bfloat16):
        assert can_attend(CPU, dtype, 32, 512)
        assert not can_attend(torch.device("cuda"), dtype, 32, 512)
        assert not can_attend(CPU, dtype, 33, 512)
        assert not can_attend(CPU, dtype, 256, 512)
        assert not can_attend(CPU, dtype, 32, 513)
        assert widest_adapter(CPU, dtype, 384) == 512
        assert widest_adapter(CPU, dtype, 33) == 0
    assert not can_attend(CPU, torch.float16, 32, 512)


@needs_kernels
@pytest.mark.parametrize("hidden_size", [384, 768, 40, 36])
@pytest.mark.parametrize("num_rows", [1, 3, 4, 9])
def test_norm_is_torchs(hidden_size: int, num_rows: int) -> None:
    """Rows and their residual are normalised to 1e-5, far from zero too, the same bits alone."""
    torch.manual_seed(num_rows)
    norm = Norm(hidden_size, eps=1e-12).requires_grad_(False)
    norm.weight.normal_()
    norm.bias.normal_()
    residual = torch.randn(num_rows, hidden_size)
    x = torch.randn(num_rows, hidden_size) + 3
    alone = [NativeNorm(norm)(x[i : i + 1].clone(), residual[i : i + 1])[0] for i in range(num_rows)]
    expected, _ = copy.deepcopy(norm).double()(x.double(), residual.double())
    found, next_residual = NativeNorm(norm)(x, residual)
    assert (found - expected).abs().max() < 1e-5
    assert next_residual is found
    assert torch.equal(found, torch.cat(alone))


@needs_kernels
def test_norm_of_unusual_rows() -> None:
    """Equal numbers give the bias, huge ones the formula's; what is no number shows in its own row, and no other."""
    norm = Norm(32, eps=1e-12).requires_grad_(False)
    norm.bias.normal_()
    x = torch.stack([torch.full((32,), 2.0), 1e12 * torch.randn(32), torch.randn(32)])
    x[2, 5] = torch.nan
    expected, _ = norm(x.clone(), torch.zeros(3, 32))
    found, _ = NativeNorm(norm)(x, torch.zeros(3, 32))
    assert torch.equal(found[0], norm.bias)
    assert torch.allclose(found, expected, atol=1e-5, equal_nan=True)


@needs_kernels
def test_norm_refuses_what_it_cannot_read() -> None:
    """A residual of fewer rows, another dtype or strided rows are an error, and no memory is touched."""
    norm = NativeNorm(Norm(32).requires_grad_(False))
    x, residual = torch.randn(4, 32), torch.randn(4, 32)
    for wrong in (x[:3], x.double(), x[:, :16], torch.randn(4, 64)[:, ::2]):
        with pytest.raises(ValueError, match=r"kernels|another|fit together"):
            norm(x, wrong)
    for wrong in (x.double(), x[:, :16], torch.randn(4, 64)[:, ::2]):
        with pytest.raises(ValueError, match=r"kernels|another|fit together"):
            norm(wrong, residual)


def test_a_packed_backbone_needs_no_groups(kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only torch's attention has the texts sorted by length."""
    bert = random_bert()
    backbone = backbone_of(bert, identity_of(bert)).pack()
    packing = Packing.of([3, 5])
    with torch.inference_mode():
        backbone(torch.zeros(8, dtype=torch.int64), torch.zeros(8, dtype=torch.int64), packing)
    assert ("grouping" in vars(packing)) == (native.library() is None)


def test_without_a_library_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If the library is missing or broken, one warning says that torch does the work."""
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    for path in (tmp_path / "missing.so", broken):
        monkeypatch.setattr(native, "LIBRARY", path)
        with caplog.at_level(logging.WARNING):
            assert library.__wrapped__() is None
        assert "no compiled kernels" in caplog.records[-1].message


@needs_kernels
def test_a_library_of_other_sources_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that has changed by a byte, or is new, makes the library old: the log has the command that compiles."""
    sources = tmp_path / "kernels"
    shutil.copytree(native.SOURCES, sources)
    monkeypatch.setattr(native, "SOURCES", sources)
    assert library.__wrapped__() is not None
    changes = [(path, path.read_bytes() + b" ") for path in (sources / "machine.c", sources / "machine.h")]
    for path, content in [*changes, (sources / "more.c", b"")]:
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert library.__wrapped__() is None, path
        assert "hatch_build.py" in caplog.messages[-1]
        path.unlink() if before is None else path.write_bytes(before)


@needs_kernels
def test_a_library_without_a_number_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other library, here that of torch, is refused in the same way."""
    monkeypatch.setattr(native, "LIBRARY", Path(torch._C.__file__))
    with caplog.at_level(logging.WARNING):
        assert library.__wrapped__() is None
    assert "hatch_build.py" in caplog.messages[-1]


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The build says what is missing, and leaves no library of older sources behind."""
    monkeypatch.setattr(hatch_build, "LIBRARY", tmp_path / "old.so")
    hatch_build.LIBRARY.touch()
    for compiler, complaint in ((str(tmp_path / "no-compiler"), "no C compiler"), ("false", "failed")):
        monkeypatch.setenv("CC", compiler)
        with pytest.raises(RuntimeError, match=complaint):
            hatch_build.build()
        assert not hatch_build.LIBRARY.exists()
