"""HttpProcess: what it does before it serves."""

import asyncio
import socket
from pathlib import Path

import pytest

from service.processes.channel import Channel
from service.server.http_process import HttpProcess
from service.server.messages import Begin, Drain, StartFailed
from service.settings import Settings
from tests.support.dispatching import INFO


@pytest.mark.parametrize("end", ["drained", "supervisor gone"])
async def test_a_process_that_never_began_ends_at_once(tmp_path: Path, end: str) -> None:
    """A start that fails or is stopped while the engine process loads does not wait for its HTTP processes."""
    ours, theirs = socket.socketpair()
    messages: list[object] = []
    process = asyncio.create_task(HttpProcess(Settings(data_dir=tmp_path), tmp_path, []).run(theirs))
    supervisor = await Channel.connect(ours, messages.append, lambda: None)
    await asyncio.sleep(0.05)
    assert not process.done()
    if end == "drained":
        supervisor.send(Drain(30.0))
        supervisor.send(Begin(INFO))  # too late
    else:
        supervisor.close()
    async with asyncio.timeout(5):
        await process
    supervisor.close()
    assert messages == []


async def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The supervisor gets the error, and the process ends."""
    ours, theirs = socket.socketpair()
    messages: list[object] = []
    settings = Settings(data_dir=tmp_path, backbone=str(tmp_path / "missing"))
    process = asyncio.create_task(HttpProcess(settings, tmp_path, []).run(theirs))
    supervisor = await Channel.connect(ours, messages.append, lambda: None)
    supervisor.send(Begin(INFO))
    async with asyncio.timeout(30):
        await process
        while not messages:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)
    (failed,) = messages
    assert isinstance(failed, StartFailed)
    assert "is no folder" in str(failed.error)
    supervisor.close()
