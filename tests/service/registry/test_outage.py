"""PostgreSQL dead, frozen or slow: every call ends in time, and all works again afterwards."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import event

from service.errors import RegistryUnavailable
from service.publishing.checks import check_upload
from service.registry import Follower, Registry
from service.registry.database import create_engine
from service.registry.write import writing
from tests.support.databases import SERVER, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.alone

ANSWER_S = 2.0  # longest wait of a caller
RECOVERY_S = 5.0  # until all is normal again
POLL_S = 0.1
DATA = [make_adapter_bytes(seed=seed) for seed in range(3)]

OUTAGES: dict[str, tuple[Callable[[TcpProxy], None], Callable[[TcpProxy], None]]] = {
    "dead": (TcpProxy.kill, TcpProxy.revive),
    "frozen": (TcpProxy.freeze, TcpProxy.thaw),
    "slow": (lambda proxy: setattr(proxy, "delay_s", 0.4), lambda proxy: setattr(proxy, "delay_s", 0.0)),
}


@pytest.fixture
def direct_url(tmp_path: Path) -> Iterator[str]:
    with fresh_database("postgresql", tmp_path) as url:
        yield url


@pytest.fixture
def direct(direct_url: str) -> Iterator[Registry]:
    """The registry as another process has it, without an outage; version 1 of `sst2` is live."""
    with closing(Registry.open(direct_url)) as registry:
        registry.publish("sst2", check_upload(DATA[0]))
        yield registry


@pytest.fixture
def proxy(direct: Registry) -> Iterator[TcpProxy]:
    host, port = SERVER.split(":")
    with proxied((host, int(port))) as proxy:
        yield proxy


@pytest.fixture
def registry(direct_url: str, proxy: TcpProxy) -> Iterator[Registry]:
    """The registry through the proxy."""
    with closing(Registry.open(direct_url.replace(SERVER, f"127.0.0.1:{proxy.port}"))) as registry:
        yield registry


def calls(registry: Registry) -> dict[str, Callable[[], object]]:
    """Return one call of each kind."""
    digest = registry.snapshot().resolve("sst2").digest
    return {
        "revision": registry.revision,
        "snapshot": registry.snapshot,
        "read_adapter": lambda: registry.read_adapter(digest),
        "audit": registry.audit,
        "publish": lambda: registry.publish("sst2", check_upload(DATA[1])),
        "set_alias": lambda: registry.set_alias("sst2", "canary", 1),
        "create_key": lambda: registry.create_key("a key", {"predict"}),
    }


def seconds_until_unavailable(call: Callable[[], object]) -> float:
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable):
        call()
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("outage", "connected"),
    [("dead", True), ("frozen", True), ("slow", True), ("frozen", False)],
    ids=["dead", "frozen", "slow", "frozen-before-connecting"],
)
def test_every_call_ends_in_time(registry: Registry, proxy: TcpProxy, outage: str, connected: bool) -> None:
    """Calls of all kinds at once, on open or on new connections, fail within 2 s; after the outage all of them work."""
    begin, end = OUTAGES[outage]
    kinds = calls(registry)
    with ThreadPoolExecutor(len(kinds)) as threads:
        if connected:
            list(threads.map(lambda _: registry.revision(), kinds))
        else:
            registry._engine.dispose()
        begin(proxy)
        took = dict(zip(kinds, threads.map(seconds_until_unavailable, kinds.values()), strict=True))
        again = dict(zip(kinds, threads.map(seconds_until_unavailable, kinds.values()), strict=True))
        assert max(took.values()) < ANSWER_S, took
        assert max(again.values()) < ANSWER_S, again
        end(proxy)
        started = time.monotonic()
        for call in kinds.values():
            call()
        assert time.monotonic() - started < RECOVERY_S


def test_a_server_that_does_not_even_accept(direct: Registry) -> None:
    """If the server does not even accept connections, a call ends in time too."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # more than its queue holds: the kernel drops further ones
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        database = direct._engine.url.set(host="127.0.0.1", port=full.getsockname()[1])
        registry = stack.enter_context(closing(Registry(create_engine(database.render_as_string()))))
        assert seconds_until_unavailable(registry.revision) < ANSWER_S


@pytest.mark.parametrize("outage", OUTAGES)
async def test_the_follower_serves_on_and_catches_up(
    registry: Registry, direct: Registry, proxy: TcpProxy, outage: str
) -> None:
    """During an outage the last snapshot stays; within 5 s after it the missed versions arrive."""
    begin, end = OUTAGES[outage]
    follower = Follower(registry, POLL_S)
    await follower.start()
    begin(proxy)
    await asyncio.to_thread(direct.publish, "sst2", check_upload(DATA[1]))
    started = time.monotonic()
    while time.monotonic() - started < ANSWER_S:
        assert follower.snapshot.resolve("sst2").version == 1
        await asyncio.sleep(POLL_S)
    end(proxy)
    async with asyncio.timeout(RECOVERY_S):
        while follower.snapshot.resolve("sst2").version == 1:  # noqa: ASYNC110 - a change has no event
            await asyncio.sleep(POLL_S)
    await follower.stop()


async def test_a_frozen_database_does_not_hold_up_a_shutdown(registry: Registry, proxy: TcpProxy) -> None:
    """The follower stops within 2 s, and closing the registry takes no time."""
    follower = Follower(registry, POLL_S)
    await follower.start()
    proxy.freeze()
    await asyncio.sleep(3 * POLL_S)
    started = time.monotonic()
    await follower.stop()
    registry.close()
    assert time.monotonic() - started < ANSWER_S


def test_a_change_of_unknown_outcome(registry: Registry, direct: Registry, proxy: TcpProxy) -> None:
    """If the answer to a commit is lost, the error says that the change may have been made; here it was."""
    event.listen(registry._engine, "commit", lambda _: proxy.withhold_answers())
    with pytest.raises(RegistryUnavailable, match="the change may have been made"):
        registry.publish("sst2", check_upload(DATA[1]))
    assert direct.snapshot().resolve("sst2").version == 2


def test_a_change_that_was_not_stored(registry: Registry, direct: Registry, proxy: TcpProxy) -> None:
    """If the server falls silent before the commit, the error does not say so, and nothing is changed."""

    def change() -> None:
        entry = registry.snapshot().tasks["sst2"]
        with writing(registry._engine, "", "") as write:
            write.move_alias(entry, "canary", entry.versions[1], allow_incompatible=False)
            proxy.freeze()
            write.drop_alias("sst2", "live", 1)

    with pytest.raises(RegistryUnavailable, match="did not answer in time") as told:
        change()
    assert "may have been made" not in str(told.value)
    proxy.thaw()
    assert direct.snapshot().tasks["sst2"].aliases == {"live": 1}


def test_a_client_that_vanishes_does_not_keep_the_lock(registry: Registry, direct: Registry, proxy: TcpProxy) -> None:
    """The server itself ends a write transaction whose client vanished, and the next writer proceeds."""

    def change() -> None:
        with writing(registry._engine, "", "") as write, ThreadPoolExecutor(1) as other:
            write.drop_alias("sst2", "live", 1)
            proxy.freeze()
            assert other.submit(seconds_until_unavailable, publish).result() > 1.0, "the lock was not held at all"
            other.submit(publish).result()

    def publish() -> None:
        direct.publish("sst2", check_upload(DATA[1]))

    with pytest.raises(RegistryUnavailable):
        change()
    assert direct.snapshot().tasks["sst2"].aliases == {"live": 2}
