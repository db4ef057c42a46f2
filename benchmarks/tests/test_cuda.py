"""The GPU benchmark, as far as it goes without a GPU."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

from adapters.backbone.source import LoadedBackbone
from adapters.cuda import forward as cuda_forward
from adapters.cuda.graphs import Buckets
from benchmarks.engine import cuda
from tests.support.paths import ROOT
from tests.support.reference import slow_varlen_attn

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@without_gpu
def test_says_that_there_is_no_gpu() -> None:
    """The command ends with a one-line error on a machine without a GPU, and writes nothing."""
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine.cuda"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no CUDA device")


@without_gpu
def test_measures_every_kind(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each number of adapters and texts has every kind; the kind without adapters runs without them."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", slow_varlen_attn)
    monkeypatch.setattr(cuda_forward, "supports_varlen", lambda *given: True)
    calls: list[str] = []
    add = cuda_forward.add_adapters
    monkeypatch.setattr(cuda_forward, "add_adapters", lambda *rest: (calls.append("add"), add(*rest))[1])

    def capture(function: Callable[[], object]) -> Callable[[], None]:
        function()
        return lambda: None

    rows = cuda.measure(tiny, capture, num_texts=(1, 3), num_adapters=(1, 2), rounds=1, max_tokens=128)
    assert [(row["adapters"], row["texts"]) for row in rows] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    kinds = {"loop", "fused", "graphs", "graphs, no adapter", "matrix products"}
    assert all(set(row["tokens_per_s"]) == kinds for row in rows)  # type: ignore[arg-type]
    num_buckets, num_layers = len(Buckets(128, tiny.backbone.max_positions).all), tiny.identity.num_layers
    fused = 2 * 4  # rounds with the warm-up, rows; one batch each
    assert len(calls) == num_layers * (num_buckets + fused)


def test_batches_keep_to_the_budget() -> None:
    """Each text is in one batch, batches keep to the token budget, and texts are dealt out over the adapters."""
    texts = cuda.random_texts(50, 99, 64)
    batches = cuda.batches_of(texts, 3, 200)
    assert sum(len(batch.lengths) for batch in batches) == 50
    assert sum(batch.num_tokens for batch in batches) == sum(len(text) for text in texts)
    assert all(batch.num_tokens <= 200 for batch in batches)
    assert {slot for batch in batches for slot in batch.slots} == {0, 1, 2}
