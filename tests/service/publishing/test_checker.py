"""The checker: a process that checks uploads for the server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from adapters import checkpoint
from adapters.backbone.quantized import dtype_name, why_not_int8
from adapters.backbone.source import LoadedBackbone, load_backbone
from service.errors import UploadRefused
from service.publishing.checker import NICE, Checker
from service.publishing.checks import check_upload, load_for_checks
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
    """The ids of the running processes that this test run's fork server has started."""
    return {
        grandchild.pid
        for child in psutil.Process().children()
        for grandchild in child.children()
        if grandchild.status() != psutil.STATUS_ZOMBIE
    }


def end(*arguments: object) -> None:
    """Replace the check with a crash of the process."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang(*arguments: object) -> None:
    """Replace the check with one that never ends."""
    time.sleep(3600)


@dataclass(frozen=True)
class ProcessReport:
    """Properties of the checker's process, instead of a CheckedUpload."""

    nice: int
    num_threads: int
    pid: int
    dtype: str
    data: bytes = b""


def report(folder: str, dtype: str, *arguments: object) -> ProcessReport:
    """Replace the check with a report about the process and its backbone."""
    served = dtype_name(load_for_checks(folder, dtype).backbone)
    return ProcessReport(os.nice(0), torch.get_num_threads(), os.getpid(), served)


async def test_a_good_file_passes(tiny: LoadedBackbone) -> None:
    """The process returns the digest, the canonical metadata and the sizes, exactly as `check_upload` does here."""
    data = make_adapter_bytes(identity=tiny.identity, labels=("a", "b", "c"))
    async with checking(tiny) as checker:
        checked = await checker.check(data)
    adapter = checkpoint.parse(data)
    assert checked == check_upload(data, tiny)
    assert (checked.data, checked.digest) == (data, adapter.digest)
    assert checked.metadata_json == checkpoint.canonical_json(adapter.metadata)
    assert (checked.num_parameters, checked.num_outputs) == (2 * (7 * 33 + 32 * 13), 3)


async def test_a_bad_file_is_refused_with_its_reason(tiny: LoadedBackbone) -> None:
    """The reason code and the message of the parser and of the dry run reach the server."""
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


async def test_checks_in_the_dtype_of_the_server(tiny_folder: Path) -> None:
    """The checker of a server that computes in bfloat16 checks in bfloat16."""
    loaded = load_backbone(str(tiny_folder), dtype=torch.bfloat16)
    async with checking(loaded) as checker:
        await checker.check(make_adapter_bytes(identity=loaded.identity))


@pytest.mark.skipif(why_not_int8("cpu") is not None, reason=str(why_not_int8("cpu")))
async def test_checks_in_int8(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker of a server that computes in int8 runs the dry run in int8."""
    checker = Checker(tiny.source, "int8", Settings(check_timeout_s=60))
    try:
        await checker.check(make_adapter_bytes(identity=tiny.identity))
        monkeypatch.setattr("service.publishing.checker._check", report)
        found: ProcessReport = await checker.check(b"")  # type: ignore[assignment]
        assert found.dtype == "int8"
    finally:
        checker.close()


async def test_a_ready_process_is_not_asked_before_each_check(
    tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first file may wait for the start; each further one costs one message."""
    asked: list[str] = []
    run = Checker._run

    async def counted(checker: Checker, function: Callable[..., Any], *arguments: object) -> Any:
        asked.append(function.__name__)
        return await run(checker, function, *arguments)

    async with checking(tiny) as checker:
        await checker.check(make_adapter_bytes(identity=tiny.identity))
        monkeypatch.setattr(Checker, "_run", counted)
        for seed in (1, 2):
            await checker.check(make_adapter_bytes(identity=tiny.identity, seed=seed))
    assert asked == ["_check", "_check"]


async def test_it_leaves_the_cores_to_the_engine(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker runs in another process with one thread and a low priority."""
    monkeypatch.setattr("service.publishing.checker._check", report)
    async with checking(tiny) as checker:
        found: ProcessReport = await checker.check(b"")  # type: ignore[assignment]
    assert found.pid != os.getpid()
    assert (found.nice, found.num_threads) == (min(os.nice(0) + NICE, 19), 1)


async def test_a_file_that_ends_the_process_is_refused(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that crashes the process is refused, and the next file is checked in a new process."""
    async with checking(tiny) as checker:
        with monkeypatch.context() as patch:
            patch.setattr("service.publishing.checker._check", end)
            with pytest.raises(UploadRefused) as refused:
                await checker.check(b"")
        assert refused.value.reason == "check_crashed"
        await checker.check(make_adapter_bytes(identity=tiny.identity))


async def test_a_file_that_takes_too_long_is_refused(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed, and the next file is checked in a new process."""
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
    """When the process was killed between two uploads, the next upload succeeds in a new process."""
    data, others = make_adapter_bytes(identity=tiny.identity), workers()
    async with checking(tiny) as checker:
        await checker.check(data)
        for pid in workers() - others:
            os.kill(pid, signal.SIGKILL)
        await checker.check(data)


async def test_nothing_is_left_running(tiny: LoadedBackbone) -> None:
    """`close` ends the process."""
    before = workers()
    async with checking(tiny) as checker:
        await checker.check(make_adapter_bytes(identity=tiny.identity))
        assert workers() - before
    for _ in range(100):
        if not workers() - before:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the checker's process is still running")
