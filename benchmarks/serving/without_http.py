"""The service without HTTP and tokenizing: cache and scheduler in the calling process, the engine in its own."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from adapters.backbone.text_encoder import Encoding
from benchmarks.serving.load import steady_rate
from service.api.state import ServerState
from service.app import serving
from service.core import PublishedVersion, Request
from service.engine_process.local import EngineParts, LocalDispatcher
from service.settings import Settings


@asynccontextmanager
async def without_http(folder: Path, adapter_memory_bytes: int) -> AsyncIterator[ServerState]:
    """A server's state on the registry in `folder`, with room for so many bytes of adapters, else the defaults."""
    settings = Settings(
        data_dir=folder,
        adapter_memory_bytes=adapter_memory_bytes,  # type: ignore[arg-type]  # as a setting it is text
        publish_shipped_adapters=False,
        registry_poll_s=60,
    )
    async with serving(settings) as state:
        yield state


async def classify(parts: EngineParts, version: PublishedVersion, encoding: Encoding) -> None:
    """Compute one text as LocalTicket.compute does, without a permit."""
    with parts.adapter_cache.pin(version.adapter) as resident:
        slot = await resident.wait_slot()
        done = asyncio.get_running_loop().create_future()
        await parts.scheduler.submit(Request(version.task, slot, [encoding], done))


def parts_of(state: ServerState) -> EngineParts:
    """Return the engine side of a server in this process."""
    assert isinstance(state.dispatcher, LocalDispatcher)
    return state.dispatcher.parts


async def tokens_per_s(
    state: ServerState,
    versions: Sequence[PublishedVersion],
    encodings: Sequence[Encoding],
    seconds: float,
    *,
    clients: int = 64,
    warmup_s: float = 1.0,
) -> float:
    """Measure `clients` with one text each under way; the n-th text is the n-th encoding, for the n-th version."""
    requests = zip(itertools.cycle(versions), itertools.cycle(encodings), strict=True)
    parts = parts_of(state)
    begin = time.monotonic() + warmup_s
    end = begin + seconds
    times: list[float] = []
    tokens: list[int] = []

    async def ask() -> None:
        while time.monotonic() < end:
            version, encoding = next(requests)
            await classify(parts, version, encoding)
            times.append(time.monotonic())
            tokens.append(len(encoding))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(ask())
    return steady_rate(np.array(times), np.array(tokens), begin, end)
