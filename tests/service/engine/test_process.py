"""The engine in a process of its own: the same answers, and what happens when it ends."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from service.engine.process import EngineProcess

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.errors import BackboneError
from adapters.serving.batch import BatchTokens
from service.engine.backend import EngineBackend
from service.engine.worker import EngineWorker
from service.errors import AdapterUnavailable, EngineDied, InferenceFailed
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.processes import server_process

LEAN = {"publish_shipped_adapters": "false", "engine_threads": "1"}

TEXTS = ["a good film", "the plot is dull and the actor is bad", "?", "one two three four five", "the cat sees a dog"]


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[EngineProcess]:
    device = await EngineProcess.start(Settings(backbone=str(folder), engine_threads=1))
    try:
        yield device
    finally:
        await device.close()


async def with_adapters(device: EngineBackend, files: list[bytes]) -> None:
    for slot, data in enumerate(files):
        await device.write(slot, checkpoint.parse(data).digest, data, checked=False)


def mixed(tiny: LoadedBackbone, num_slots: int = 3) -> BatchTokens:
    encodings = tiny.encoder.encode([*TEXTS, ("a film", "a dog")], max_length=16)
    return BatchTokens.of([(slot, encodings[slot:]) for slot in range(num_slots)])


async def test_it_answers_as_a_device_of_this_process(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """Mixed batches, labels of several numbers: the logits are the same; so are the sizes of adapters."""
    labels = [("a", "b"), ("a", "b", "c"), ("x", "y")]
    files = [make_adapter_bytes(identity=tiny.identity, seed=seed, labels=names) for seed, names in enumerate(labels)]
    here = EngineWorker(tiny, Settings(engine_threads=1))
    async with started(tiny_folder) as there:
        found = []
        for device in (here, there):
            await with_adapters(device, files)
            found.append(await device.compute(await device.prepare(mixed(tiny))))  # type: ignore[arg-type]
        assert (there.name, there.dtype) == (here.name, here.dtype)
        assert there.num_bytes(1000, 3) == here.num_bytes(1000, 3)
    await here.close()
    for expected, logits in zip(*found, strict=True):
        assert logits.shape == expected.shape
        assert np.abs(logits - expected).max() < 1e-6


async def test_batches_overlap_and_one_that_is_ahead_may_be_dropped(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """One is computed while the next is prepared; a ticket that is never used costs nothing."""
    async with started(tiny_folder) as device:
        await with_adapters(device, [make_adapter_bytes(identity=tiny.identity)])
        first = await device.prepare(mixed(tiny, 1))
        computing = asyncio.create_task(device.compute(first))
        await asyncio.sleep(0)
        for _ in range(5):
            await device.prepare(mixed(tiny, 1))
        last = await device.prepare(mixed(tiny, 1))
        logits = await asyncio.gather(computing, device.compute(last))
    assert np.array_equal(logits[0][0], logits[1][0])


async def test_errors_come_back(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """A file of another backbone is refused, a batch for an empty slot fails, and the next one is computed."""
    async with started(tiny_folder) as device:
        await with_adapters(device, [make_adapter_bytes(identity=tiny.identity)])
        foreign = make_adapter_bytes()
        with pytest.raises(AdapterUnavailable, match="made for backbone"):
            await device.write(1, checkpoint.parse(foreign).digest, foreign, checked=False)
        with pytest.raises(InferenceFailed, match="KeyError"):
            await device.compute(await device.prepare(mixed(tiny, 2)))
        device.clear(0)
        with pytest.raises(InferenceFailed, match="KeyError"):
            await device.compute(await device.prepare(mixed(tiny, 1)))
        await with_adapters(device, [make_adapter_bytes(identity=tiny.identity)])
        assert len(await device.compute(await device.prepare(mixed(tiny, 1)))) == 1


async def test_no_backbone_no_process(tmp_path: Path) -> None:
    """A broken backbone raises its own error message, and no process is left running."""
    (tmp_path / "config.json").write_text("{}")
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(BackboneError, match=r"has no model\.safetensors"):
        await EngineProcess.start(Settings(backbone=str(tmp_path)))
    assert not [one for one in set(psutil.Process().children(recursive=True)) - before if "engine" in one.name()]


async def test_a_process_that_ends_is_told(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """Waiting and later calls raise EngineDied."""
    device = await EngineProcess.start(Settings(backbone=str(tiny_folder), engine_threads=1))
    data = make_adapter_bytes(identity=tiny.identity)
    device._process.kill()
    with pytest.raises(EngineDied):
        await device.write(0, checkpoint.parse(data).digest, data, checked=False)
    await device.died.wait()
    with pytest.raises(EngineDied):
        await device.compute(await device.prepare(mixed(tiny, 1)))
    await device.close()


def test_a_server_without_its_engine_ends(tiny_folder: Path, tmp_path: Path) -> None:
    """The server logs why it ends, and its exit status is not 0, so that a supervisor restarts it."""
    with server_process(tmp_path, backbone=str(tiny_folder), **LEAN) as server:
        os.kill(engine_of(server.process.pid).pid, signal.SIGKILL)
        assert server.process.wait(30) != 0
        assert "the engine's process has ended" in server.log


def test_the_engine_ends_with_the_server(tiny_folder: Path, tmp_path: Path) -> None:
    """The engine ends even if the server is killed; a signal to the whole process group does not end it earlier."""
    with server_process(tmp_path, backbone=str(tiny_folder), **LEAN) as server:
        engine = engine_of(server.process.pid)
        for number in (signal.SIGTERM, signal.SIGINT):
            engine.send_signal(number)
        time.sleep(0.2)
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        server.process.kill()
        engine.wait(10)


def engine_of(server: int) -> psutil.Process:
    """The process below `server` that has the backbone and is no checker: the one with the engine's threads."""
    children = [one for one in psutil.Process(server).children(recursive=True) if one.num_threads() > 1]
    return min(children, key=lambda one: one.nice())
