"""DispatchServer: a change is announced to every HTTP process, and the load is published."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Iterator
from types import SimpleNamespace

import pytest

from service.api.http.errors import failure_of
from service.dispatch.load_page import Load, LoadPage
from service.engine_process import peer as peer_module
from service.engine_process import server as server_module
from service.errors import EngineDied, InternalError, RegistryUnavailable
from tests.support.dispatching import FAR, close, not_expected, ref, rig
from tests.support.scheduling import encoding


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for an HTTP process, and may be killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


async def test_announce_waits_for_all() -> None:
    """The engine process reads first, then all HTTP processes at once, except the one whose change it is."""
    order: list[str] = []
    may_end = asyncio.Event()

    def follows(name: str) -> Awaitable[None]:
        async def follow() -> None:
            order.append(f"{name} begins, {engine_side.registry.num_reads}")
            await may_end.wait()
            order.append(f"{name} ends")

        return follow()

    async with rig() as engine_side:
        origin = await engine_side.connect(lambda: order.append("origin"))
        for name in "ab":
            await engine_side.connect(lambda name=name: follows(name))
        announcing = asyncio.create_task(origin.announce())
        await asyncio.sleep(0.1)
        assert not announcing.done()
        assert sorted(order) == ["a begins, 1", "b begins, 1"]
        may_end.set()
        await announcing
        assert sorted(order) == ["a begins, 1", "a ends", "b begins, 1", "b ends"]
        engine_side.assert_empty()


async def test_announce_without_others() -> None:
    """A server with one HTTP process waits for the engine process only; two that announce at once both succeed."""
    async with rig() as engine_side:
        first = await engine_side.connect()
        await first.announce()
        assert engine_side.registry.num_reads == 1
        second = await engine_side.connect()
        await asyncio.gather(*(one.announce() for one in (first, second, first, second)))
        engine_side.assert_empty()


@pytest.mark.parametrize("error", [RegistryUnavailable("the database is down"), ValueError("a bug")])
async def test_a_process_that_cannot_read_the_registry(error: Exception) -> None:
    """The change is answered with RegistryUnavailable; the process itself is not ended, nor is another."""

    def fails() -> None:
        raise error

    async with rig() as engine_side:
        origin, failing, well = [await engine_side.connect(follow) for follow in (None, fails, None)]
        with pytest.raises(RegistryUnavailable, match=str(error)):
            await origin.announce()
        await engine_side.settle()
        assert not any(client.died.is_set() for client in (origin, failing, well))
        engine_side.assert_empty()


async def test_a_slow_registry_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for the database says so before it would be taken for one that hangs."""
    monkeypatch.setattr("service.dispatch.client.READ_S", 0.05)
    reading = asyncio.Event()
    async with rig() as engine_side:
        origin, slow = [await engine_side.connect(follow) for follow in (None, reading.wait)]
        with pytest.raises(RegistryUnavailable, match=r"not read within 0\.05 s"):
            await origin.announce()
        assert not slow.died.is_set()
        reading.set()  # it goes on reading
        await origin.announce()
        engine_side.assert_empty()


async def test_a_process_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """A process that does not answer is killed; the change succeeds, because no process answers by an older state."""
    monkeypatch.setattr(server_module, "FOLLOW_S", 0.1)
    never = asyncio.Event()
    async with rig() as engine_side:
        origin, hanging, well = [await engine_side.connect(follow) for follow in (None, never.wait, None)]
        for peer in engine_side.server._peers:
            peer._pid = 0  # they are all in this process
        await engine_side.settle()
        held = hanging.open("t", FAR, lambda error: None)
        await engine_side.settle()
        (peer,) = [one for one in engine_side.server._peers if one._tickets]
        peer._pid = sleeper.pid
        killing = asyncio.create_task(asyncio.to_thread(sleeper.wait, 20))

        def ends(_: object) -> None:  # the kernel closes the connection of a killed process
            assert hanging._channel is not None
            hanging.close()

        killing.add_done_callback(ends)
        await origin.announce()
        assert await killing == -signal.SIGKILL
        assert hanging.died.is_set()
        assert not well.died.is_set()
        assert "did not follow a change of the registry" in caplog.text
        held.close()
        never.set()
        await asyncio.gather(*hanging._following)
        await engine_side.settle()
        assert peer not in engine_side.server._peers
        engine_side.assert_empty()
        await origin.announce()


async def test_a_killed_process_that_stays_connected_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is answered after END_S at most, even if a child of the process holds its connection open."""
    monkeypatch.setattr(server_module, "FOLLOW_S", 0.02)
    monkeypatch.setattr(peer_module, "END_S", 0.02)
    never = asyncio.Event()
    async with rig() as engine_side:
        origin, hanging = [await engine_side.connect(follow) for follow in (None, never.wait)]
        for peer in engine_side.server._peers:
            assert peer._pid == os.getpid()
            peer._pid = 0
        async with asyncio.timeout(5):
            await origin.announce()
        assert not hanging.died.is_set()
        never.set()
        await engine_side.settle()


async def test_the_one_who_announces_may_end() -> None:
    """Its announcement is given up; the others follow nevertheless, and later announcements work."""
    may_end = asyncio.Event()
    async with rig() as engine_side:
        origin, slow, other = [await engine_side.connect(follow) for follow in (None, may_end.wait, None)]
        announcing = asyncio.create_task(origin.announce())
        await engine_side.settle(origin, other)
        origin.close()
        with pytest.raises(EngineDied):
            await announcing
        may_end.set()
        await other.announce()
        assert not slow.died.is_set()
        engine_side.assert_empty()


async def test_the_page_shows_the_load() -> None:
    """After each change of permits and tokens the page has the numbers of the engine side, and counts the openings."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        page, connection = LoadPage.attach(engine_side.folder / "load"), client._load.connection
        ticket = client.open("t", FAR, not_expected)
        ticket.reserve(7)
        await engine_side.settle()
        assert page.read() == Load(engine_side.admission.state(), {connection: 1})
        assert engine_side.admission.state().held == {"t": (1.0, 1, 7)}
        await ticket.compute(ref("t"), [encoding(5)])
        await engine_side.settle()
        assert page.read() == Load(engine_side.admission.state(), {connection: 1})
        ticket.close()
        await engine_side.settle()
        assert page.read() == Load(engine_side.admission.state(), {connection: 1})
        assert engine_side.admission.state().held == {}
        await close([client])
        await asyncio.sleep(0.01)
        assert page.read() == Load(engine_side.admission.state(), {})


async def test_the_load_is_published_while_permits_are_held() -> None:
    """Batches of a large request give tokens back without a message: nothing is rejected by old numbers."""
    admission = SimpleNamespace(num_requests=1, num_writes=0)

    def write(_: object) -> None:
        admission.num_writes += 1

    parts = SimpleNamespace(parts=SimpleNamespace(admission=admission))
    admission.state = lambda: None
    server = server_module.DispatchServer(parts, SimpleNamespace(write=write, beat=lambda: None))  # type: ignore[arg-type]
    for _ in range(5):
        server.publish_soon()
        await asyncio.sleep(2 * server_module.PUBLISH_S)
    before = admission.num_writes
    await asyncio.sleep(20 * server_module.REPUBLISH_S)
    assert 2 <= admission.num_writes - before <= 21
    admission.num_requests = 0
    await asyncio.sleep(2 * server_module.REPUBLISH_S)
    before = admission.num_writes
    await asyncio.sleep(4 * server_module.REPUBLISH_S)
    assert admission.num_writes == before


async def test_an_unexpected_error_of_a_call_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    """A bug while a call is answered is an internal error; the log has its traceback, the client none of it."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        engine_side.registry.broken["worse"] = RuntimeError("a secret of the engine")
        with pytest.raises(InternalError) as raised:
            await client.warm(ref("worse"))
        assert "secret" not in str(raised.value)
        assert failure_of(raised.value).status == 500
        (record,) = [one for one in caplog.records if one.name == "service.engine_process.peer"]
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "a secret of the engine"
        await engine_side.settle()
        engine_side.assert_empty()
