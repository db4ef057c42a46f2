"""The follower: a process keeps up with what others publish, and continues without the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import event

from service.errors import RegistryUnavailable
from service.publishing.checks import check_upload
from service.registry import Follower, Registry, Snapshot
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.alone

POLL_S = 0.01


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.sqlite3'}"


@asynccontextmanager
async def following(
    registry: Registry, poll_s: float = POLL_S, on_change: Callable[[Snapshot], None] | None = None
) -> AsyncIterator[Follower]:
    follower = Follower(registry, poll_s, on_change)
    await follower.start()
    try:
        yield follower
    finally:
        await follower.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(POLL_S)


async def test_it_starts_with_the_current_snapshot(registry: Registry) -> None:
    """After `start` the snapshot is loaded; before, it is empty."""
    registry.publish("sst2", check_upload(make_adapter_bytes()))
    assert Follower(registry, POLL_S).snapshot.tasks == {}
    async with following(registry) as follower:
        assert follower.snapshot == registry.snapshot()


async def test_it_follows_another_process(registry: Registry, url: str) -> None:
    """Versions published by another registry object arrive, and `on_change` is called each time."""
    seen: list[Snapshot] = []
    with closing(Registry.open(url)) as other:
        async with following(registry, on_change=seen.append) as follower:
            await asyncio.to_thread(other.publish, "sst2", check_upload(make_adapter_bytes()))
            await until(lambda: "sst2" in follower.snapshot.tasks)
            await asyncio.to_thread(other.publish, "sst2", check_upload(make_adapter_bytes(seed=1)))
            await until(lambda: follower.snapshot.resolve("sst2").version == 2)
    assert [snapshot.revision for snapshot in seen] == [0, 1, 2]


async def test_own_writes_are_seen_after_refresh(registry: Registry) -> None:
    """`refresh` does not wait for the next poll."""
    async with following(registry, poll_s=60) as follower:
        await asyncio.to_thread(registry.publish, "sst2", check_upload(make_adapter_bytes()))
        assert follower.snapshot.tasks == {}
        snapshot = await follower.refresh()
        assert snapshot is follower.snapshot
        assert snapshot.resolve("sst2").version == 1


async def test_refreshes_at_once_end_with_the_newest(registry: Registry) -> None:
    """An older snapshot that took longer to load never replaces a newer one."""
    async with following(registry) as follower:

        async def publish(seed: int) -> None:
            version = (
                await asyncio.to_thread(registry.publish, "sst2", check_upload(make_adapter_bytes(seed=seed)))
            ).version
            await follower.refresh()
            assert version.version in follower.snapshot.tasks["sst2"].versions

        await asyncio.gather(*(publish(seed) for seed in range(6)))
        assert list(follower.snapshot.tasks["sst2"].versions) == [1, 2, 3, 4, 5, 6]


async def test_nothing_is_loaded_while_nothing_changes(registry: Registry) -> None:
    """A poll reads only the revision while nothing changes."""
    statements: list[str] = []
    async with following(registry) as follower:
        before = follower.snapshot

        @event.listens_for(registry._engine, "before_cursor_execute")
        def remember(*call: object) -> None:
            statements.append(str(call[2]))  # connection, cursor, statement, ...

        await until(lambda: len(statements) > 20)
        assert follower.snapshot is before
    assert {statement.split()[-1] for statement in statements if "SELECT" in statement} == {"revision"}


async def test_a_lost_database_is_logged_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the database the last snapshot is served; when the database is back, following continues."""
    registry.publish("sst2", check_upload(make_adapter_bytes()))
    async with following(registry) as follower:
        failures: list[str] = []

        def fail(_: float) -> Snapshot:
            failures.append("again")
            raise RegistryUnavailable("the registry's database cannot be used: gone")

        with monkeypatch.context() as patch:
            patch.setattr(registry, "snapshot", fail)
            await until(lambda: len(failures) > 3)
            assert follower.snapshot.resolve("sst2").version == 1
        registry.publish("sst2", check_upload(make_adapter_bytes(seed=1)))
        await until(lambda: follower.snapshot.resolve("sst2").version == 2)
        await until(lambda: "following the registry again" in caplog.text)
    assert caplog.text.count("cannot follow the registry") == 1
    assert caplog.text.count("following the registry again") == 1


async def test_a_failing_callback_does_not_end_it(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """An error in `on_change` is logged with its traceback, and the next change is followed."""

    def fail_at_first(snapshot: Snapshot) -> None:
        if snapshot.revision == 1:
            raise RuntimeError("a callback's mistake")

    async with following(registry, on_change=fail_at_first) as follower:
        await asyncio.to_thread(registry.publish, "sst2", check_upload(make_adapter_bytes()))
        await until(lambda: "Traceback" in caplog.text)
        await asyncio.to_thread(registry.publish, "sst2", check_upload(make_adapter_bytes(seed=1)))
        await until(lambda: follower.snapshot.resolve("sst2").version == 2)
        assert caplog.text.count("Traceback") == 1


async def test_it_does_not_start_without_a_database(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first snapshot cannot be loaded, `start` raises; `stop` can be called nevertheless."""

    def fail(_: float) -> Snapshot:
        raise RegistryUnavailable("gone")

    monkeypatch.setattr(registry, "snapshot", fail)
    follower = Follower(registry, POLL_S)
    with pytest.raises(RegistryUnavailable):
        await follower.start()
    await follower.stop()


async def test_stop_does_not_wait_for_the_next_poll(registry: Registry) -> None:
    """Stopping is immediate, and may be done twice."""
    started = asyncio.get_running_loop().time()
    async with following(registry, poll_s=60) as follower:
        pass
    await follower.stop()
    assert asyncio.get_running_loop().time() - started < 30
