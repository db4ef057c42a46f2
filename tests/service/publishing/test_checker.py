"""The process that checks uploads."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import torch

from adapters.backbone.source import LoadedBackbone, load_backbone
from service.errors import UploadRefused
from service.publishing.checker import Checked, Checker
from service.settings import Settings
from tests.support.factories import make_adapter_bytes


@asynccontextmanager
async def checking(loaded: LoadedBackbone, timeout_s: float = 60) -> AsyncIterator[Checker]:
    checker = Checker(
        loaded.source, str(loaded.backbone.dtype).removeprefix("torch."), Settings(check_timeout_s=timeout_s)
    )
    try:
        yield checker
    finally:
        checker.close()


def workers() -> set[int]:
    """Processes that the fork server of this test run has started."""
    return {
        grandchild.pid
        for child in psutil.Process().children()
        for grandchild in child.children()
        if grandchild.status() != psutil.STATUS_ZOMBIE
    }


def end(*arguments: object) -> None:
    """In place of the check: the process ends as by a fault in native code."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang(*arguments: object) -> None:
    """In place of the check: it never ends."""
    time.sleep(3600)


def about(*arguments: object) -> dict[str, object]:
    """In place of the check: how the process was set up."""
    return {"nice": os.nice(0), "threads": torch.get_num_threads(), "pid": os.getpid()}


async def test_a_good_file_passes(tiny: LoadedBackbone) -> None:
    """What comes back says how much room the adapter needs."""
    async with checking(tiny) as checker:
        checked = await checker.check(make_adapter_bytes(identity=tiny.identity, labels=("a", "b", "c")))
    assert checked == Checked(num_parameters=2 * (7 * 33 + 32 * 13), num_outputs=3)


async def test_a_bad_file_is_refused_with_its_reason(tiny: LoadedBackbone) -> None:
    """The reason code and the message come through, of the parser and of the dry run alike."""
    files = {
        "container_too_short": b"",
        "other_backbone": make_adapter_bytes(),
        "max_length": make_adapter_bytes(identity=tiny.identity, max_length=4096),
    }
    async with checking(tiny) as checker:
        for reason, data in files.items():
            with pytest.raises(UploadRefused) as refused:
                await checker.check(data)
            assert refused.value.reason == reason
            assert str(refused.value)


async def test_it_serves_in_the_type_of_the_server(tiny_folder: Path) -> None:
    """A server that computes in bfloat16 gets its uploads checked in bfloat16."""
    loaded = load_backbone(str(tiny_folder), dtype=torch.bfloat16)
    async with checking(loaded) as checker:
        await checker.check(make_adapter_bytes(identity=loaded.identity))


async def test_it_leaves_the_cores_to_the_engine(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is another one, has one thread and a low priority."""
    monkeypatch.setattr("service.publishing.checker._check", about)
    async with checking(tiny) as checker:
        found: dict[str, object] = await checker.check(b"")  # type: ignore[assignment]
    assert found["pid"] != os.getpid()
    assert (found["nice"], found["threads"]) == (os.nice(0) + 10, 1)


async def test_a_file_that_ends_the_process_is_refused(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server lives, the file is refused, and the next file finds a new process."""
    async with checking(tiny) as checker:
        with monkeypatch.context() as patch:
            patch.setattr("service.publishing.checker._check", end)
            with pytest.raises(UploadRefused) as refused:
                await checker.check(b"")
        assert refused.value.reason == "check_crashed"
        await checker.check(make_adapter_bytes(identity=tiny.identity))


async def test_a_file_that_takes_too_long_is_refused(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is ended, not left running, and the next file finds a new one."""
    others = workers()
    async with checking(tiny) as checker:
        await checker.check(make_adapter_bytes(identity=tiny.identity))
        before = workers() - others
        assert before
        with monkeypatch.context() as patch:
            patch.setattr("service.publishing.checker._check", hang)
            patch.setattr(checker, "_timeout_s", 0.3)
            with pytest.raises(UploadRefused) as refused:
                await checker.check(b"")
        assert refused.value.reason == "check_timeout"
        await checker.check(make_adapter_bytes(identity=tiny.identity))
        assert not before & workers()


async def test_a_process_that_was_ended_is_replaced(tiny: LoadedBackbone) -> None:
    """Whoever ended it, the next upload does not notice."""
    data, others = make_adapter_bytes(identity=tiny.identity), workers()
    async with checking(tiny) as checker:
        await checker.check(data)
        for pid in workers() - others:
            os.kill(pid, signal.SIGKILL)
        await checker.check(data)


async def test_nothing_is_left_running(tiny: LoadedBackbone) -> None:
    """After `close` the process is gone."""
    before = workers()
    async with checking(tiny) as checker:
        await checker.check(make_adapter_bytes(identity=tiny.identity))
        assert workers() - before
    for _ in range(100):
        if not workers() - before:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the checking process is still there")
