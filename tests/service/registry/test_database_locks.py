"""Locks on the registry's database: how long readers and writers wait for each other, and that writers take turns."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.errors import RegistryUnavailable
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.alone


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.sqlite3'}"


def test_a_writer_gives_up_a_locked_database(sqlite_url: str) -> None:
    """A writer waits for another program's lock only until its deadline; readers do not wait."""
    with closing(Registry.open(sqlite_url)) as registry:
        with locked(sqlite_url, "BEGIN IMMEDIATE"):
            assert unavailable_after_s(lambda: registry.publish("sst2", check_upload(make_adapter_bytes()))) < 2
            assert registry.revision() == 0
        assert registry.publish("sst2", check_upload(make_adapter_bytes()))[1]


def test_a_reader_gives_up_a_locked_database(sqlite_url: str) -> None:
    """A reader waits at most 2 s for a program that stopped in the middle of a commit."""
    with closing(Registry.open(sqlite_url)) as registry:
        with locked(sqlite_url, "BEGIN EXCLUSIVE"):
            assert unavailable_after_s(registry.snapshot) < 2
        assert registry.snapshot().tasks == {}


def test_a_commit_that_a_reader_holds_up_is_given_up(sqlite_url: str) -> None:
    """Waiting for the lock at the begin and at the commit share the deadline; nothing is stored or stays locked."""
    with closing(Registry.open(sqlite_url)) as registry:
        with locked(sqlite_url, "BEGIN") as reader, locked(sqlite_url, "BEGIN IMMEDIATE") as writer:
            reader.execute("SELECT * FROM revision").fetchall()
            threading.Timer(1.0, writer.rollback).start()
            assert 1.0 < unavailable_after_s(lambda: registry.publish("sst2", check_upload(make_adapter_bytes()))) < 2
        assert (registry.revision(), registry.audit()) == (0, [])
        assert registry.publish("sst2", check_upload(make_adapter_bytes()))[1]


def test_a_write_ahead_log_is_converted_or_refused(sqlite_url: str) -> None:
    """A file in WAL mode is converted to DELETE mode; if another program keeps it in WAL mode, it is refused."""
    Registry.open(sqlite_url).close()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("SELECT * FROM revision").fetchall()
        with pytest.raises(RegistryUnavailable, match=r"locked|journal mode is wal"):
            Registry.open(sqlite_url)
    with closing(Registry.open(sqlite_url)) as registry:
        assert registry.publish("sst2", check_upload(make_adapter_bytes()))[1]
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@contextmanager
def locked(url: str, begin: str) -> Iterator[sqlite3.Connection]:
    """Another program's transaction."""
    with closing(
        sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute(begin)
        yield other


def unavailable_after_s(call: Callable[[], object]) -> float:
    """Return the seconds until `call` is refused because of a lock."""
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable, match="locked"):
        call()
    return time.monotonic() - started


def test_writers_take_turns(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads write without a pause; none of them waits for most of the time."""
    monkeypatch.setattr("service.registry.deadline.CALL_TIMEOUT_S", 60.0)
    waits: list[float] = []
    with closing(Registry.open(url)) as registry:
        registry.publish("sst2", check_upload(make_adapter_bytes()))
        registry.publish("sst2", check_upload(make_adapter_bytes(seed=1)))

        def write(number: int) -> None:
            for step in range(10):
                started = time.monotonic()
                registry.set_alias("sst2", f"alias-{number}", 1 + step % 2)
                waits.append(time.monotonic() - started)

        started = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(8)))
        assert max(waits) < (time.monotonic() - started) / 2, waits
        assert len(registry.snapshot().tasks["sst2"].aliases) == 9
