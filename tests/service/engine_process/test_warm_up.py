"""Warm-up: what is done before a server listens, and what must not be seen of it later."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.backbone.source import LoadedBackbone
from adapters.serving.batch import BatchTokens
from service.app import serving
from service.engine.engine import Engine
from service.engine_process import warm_up as warm_up_module
from service.errors import InferenceFailed
from tests.support.factories import make_adapter_bytes
from tests.support.serving import parts_of, predict, running, settings_for, upload


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[BatchTokens]:
    """Every batch that an engine is given."""
    batches: list[BatchTokens] = []
    prepare = Engine.prepare

    async def seen(engine: Engine, batch: BatchTokens) -> Any:
        batches.append(batch)
        return await prepare(engine, batch)

    monkeypatch.setattr(Engine, "prepare", seen)
    monkeypatch.setattr(warm_up_module, "MAX_S", 600.0)
    return batches


@pytest.fixture
def folder(tiny: LoadedBackbone, tmp_path: Path) -> Path:
    """The folder of a server with a task for pairs and one for longer texts."""
    with running(tiny, tmp_path, warmup=False) as client:
        upload(client, "p", make_adapter_bytes(identity=tiny.identity, pair=True))
        upload(client, "t", make_adapter_bytes(identity=tiny.identity, seed=1, max_length=128))
    return tmp_path


async def test_every_usual_size(tiny: LoadedBackbone, folder: Path, computed: list[BatchTokens]) -> None:
    """When the server is there, batches of every usual number of rows were computed, and the throughput is
    known; neither the metrics nor the queue have seen any of it."""
    async with serving(settings_for(folder, warmup=True), lambda _: tiny) as state:
        sizes = [len(batch.token_ids) for batch in computed]
        assert sizes == [*range(16, 257, 16), 512]
        assert all(batch.lengths.sum() == len(batch.token_ids) == len(batch.type_ids) for batch in computed)
        assert parts_of(state).throughput.tokens_per_s is not None
        text = state.metrics.exposition().decode()
    for name in ("batch_size", "inference_duration_seconds", "tokenize_duration_seconds", "queue_duration_seconds"):
        assert f"adakron_{name}_count 0.0" in text
    assert "adakron_requests_total{" not in text


def test_without_it(tiny: LoadedBackbone, folder: Path, computed: list[BatchTokens]) -> None:
    """With ADAKRON_WARMUP=false the first batch is a client's."""
    with running(tiny, folder, warmup=False) as client:
        assert computed == []
        predict(client, "t", "a")
        assert len(computed) == 1


def test_nothing_to_warm_up_with(tiny: LoadedBackbone, tmp_path: Path, computed: list[BatchTokens]) -> None:
    """A server without tasks starts as any other."""
    with running(tiny, tmp_path, warmup=True) as client:
        assert client.get("/health/ready").status_code == 200
    assert computed == []


def test_it_ends(
    tiny: LoadedBackbone, folder: Path, computed: list[BatchTokens], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow device it is given up after some seconds, and the server starts."""
    monkeypatch.setattr(warm_up_module, "MAX_S", 0.0)
    with running(tiny, folder, warmup=True) as client:
        assert len(computed) == 1
        predict(client, "t", "a")


def test_a_failure_keeps_no_server_from_starting(
    tiny: LoadedBackbone, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A warm-up that cannot compute does not stop the start; the log says that nothing was warmed up."""

    async def fail(*_: object) -> list[np.ndarray]:
        raise InferenceFailed("the forward pass failed: broken")

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "compute", fail)
        with running(tiny, folder, warmup=True) as client:
            assert client.get("/health/ready").status_code == 200
    assert "not warmed up: the forward pass failed: broken" in caplog.text
