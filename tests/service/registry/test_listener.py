"""PostgreSQL notifies of every change: other processes get it at once, without polling."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.publishing.checks import check_upload
from service.registry import Follower, Registry
from tests.support.databases import execute, fresh_database
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.alone

NEVER_S = 3600  # a poll that does not come
PROMPTLY_S = 1.0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with fresh_database("postgresql", tmp_path) as url:
        yield url


@pytest.fixture
def other(url: str) -> Iterator[Registry]:
    """The same registry, opened by another process."""
    with closing(Registry.open(url)) as registry:
        yield registry


async def until_revision(follower: Follower, revision: int) -> None:
    async with asyncio.timeout(PROMPTLY_S):
        while follower.snapshot.revision != revision:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)


async def test_the_follower_is_notified(registry: Registry, other: Registry) -> None:
    """Without a poll, each change of another process arrives within a second."""
    follower = Follower(registry, poll_s=NEVER_S)
    await follower.start()
    try:
        await asyncio.to_thread(other.publish, "sst2", check_upload(make_adapter_bytes()))
        await until_revision(follower, 1)
        await asyncio.to_thread(other.create_key, "a key", {"predict"})
        await until_revision(follower, 2)
        assert follower.snapshot.resolve("sst2").version == 1
        assert len(follower.snapshot.keys) == 1
    finally:
        await follower.stop()


def test_writes_without_effect_do_not_notify(registry: Registry, other: Registry) -> None:
    """A write that is refused or has no effect notifies no listener."""
    told = threading.Event()
    listener = registry.listener(told.set, retry_s=0.1)
    assert listener is not None
    data = make_adapter_bytes()
    other.publish("sst2", check_upload(data))
    listener.start()
    assert told.wait(PROMPTLY_S), "told once that it has begun"
    told.clear()
    other.publish("sst2", check_upload(data))
    assert not told.wait(0.3)
    other.delete_alias("sst2", "live")
    assert told.wait(PROMPTLY_S)
    listener.stop()


def test_it_listens_again_after_a_lost_connection(registry: Registry, other: Registry, url: str) -> None:
    """If the server closes the connection, the listener reconnects and reports a possible change."""
    told = threading.Event()
    listener = registry.listener(told.set, retry_s=0.1)
    assert listener is not None
    listener.start()
    assert told.wait(PROMPTLY_S)
    told.clear()
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query = 'LISTEN adakron_registry'",
    )
    assert told.wait(PROMPTLY_S)
    told.clear()
    other.publish("sst2", check_upload(make_adapter_bytes()))
    assert told.wait(PROMPTLY_S)
    listener.stop()


def test_stopping_is_prompt(registry: Registry) -> None:
    """A listener that waits for a change does not delay a shutdown, and leaves no thread."""
    listener = registry.listener(lambda: None, retry_s=NEVER_S)
    assert listener is not None
    before = threading.active_count()
    listener.start()
    time.sleep(0.2)
    started = time.monotonic()
    listener.stop()
    assert time.monotonic() - started < PROMPTLY_S
    assert threading.active_count() == before


def test_sqlite_has_no_listener(tmp_path: Path) -> None:
    """SQLite has no listener."""
    with closing(Registry.open(f"sqlite:///{tmp_path / 'registry.sqlite3'}")) as registry:
        assert registry.listener(lambda: None, retry_s=1) is None
