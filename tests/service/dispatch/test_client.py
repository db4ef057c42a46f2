"""RemoteDispatcher against a DispatchServer, over real sockets in one event loop."""

import asyncio
import time

import numpy as np
import pytest

from adapters.backbone.text_encoder import Encoding
from service.core import AdapterRef
from service.dispatch.client import RemoteDispatcher
from service.dispatch.dispatcher import Ticket
from service.engine_process.server import PUBLISH_S
from service.errors import (
    AdapterUnavailable,
    DeadlineExceeded,
    EngineDied,
    InferenceFailed,
    InvalidInput,
    Overloaded,
    ServiceError,
)
from service.scheduling.admission import Bounds
from tests.support.dispatching import FAR, close, not_expected, ref, rig
from tests.support.scheduling import encoding

FEW = Bounds(max_requests=2, max_tokens=100, max_wait_s=1e9)


async def ask(client: RemoteDispatcher, task: str, *texts: Encoding, adapter: AdapterRef | None = None) -> np.ndarray:
    """Run a whole request: permit, reservation, logits, end."""
    ticket = client.open(task, FAR, not_expected)
    try:
        ticket.reserve(sum(map(len, texts)))
        ticket.load(adapter or ref(task))
        return await ticket.compute(adapter or ref(task), texts)
    finally:
        ticket.close()


def submit(ticket: Ticket, *texts: Encoding) -> asyncio.Task[np.ndarray]:
    """Start to compute texts of the ticket's task."""
    return asyncio.create_task(ticket.compute(ref(ticket.task), texts))


async def test_answers_come_back_to_their_requests() -> None:
    """A hundred requests of two processes at once have each its own logits, stages and counts."""
    async with rig() as engine_side:
        clients = [await engine_side.connect() for _ in range(2)]
        texts = [[encoding(3, 100 * number + row) for row in range(1 + number % 3)] for number in range(100)]
        asked = [ask(clients[number % 2], f"t{number % 7}", *texts[number]) for number in range(100)]
        for number, logits in enumerate(await asyncio.gather(*asked)):
            assert logits.dtype == np.float32
            assert logits[:, 0].tolist() == [100 * number + row for row in range(1 + number % 3)]
        await engine_side.settle()
        counts = await clients[0].label_counts([f"t{number}" for number in range(8)])
        assert sum(one.num_inputs for one in counts.values()) == sum(map(len, texts))
        assert set(counts) == {f"t{number}" for number in range(7)}
        engine_side.assert_empty()


async def test_stages_of_a_request() -> None:
    """The ticket has the times of the engine process: the clock is the machine's."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        ticket, before = client.open("t", FAR, not_expected), time.monotonic()
        await ticket.compute(ref("t"), [encoding(5)])
        progress = ticket.progress
        assert before <= progress.queued_at <= time.monotonic()
        assert 0 <= progress.queue_s <= 5
        assert [(batch.num_inputs, batch.num_tokens) for batch in progress.batches] == [(1, 5)]
        ticket.close()


async def test_steps_of_one_turn_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permit, reservation, adapter and inputs leave together; so do the ends of several requests."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        (peer,) = engine_side.server._peers
        seen: list[str] = []
        handle = peer.channel._handle
        monkeypatch.setattr(
            peer.channel, "_handle", lambda message: (seen.append(type(message).__name__), handle(message))
        )
        tickets = []
        for task in "ab":
            tickets.append(client.open(task, FAR, not_expected))
            tickets[-1].reserve(5)
            tickets[-1].load(ref(task))
            await tickets[-1].compute(ref(task), [encoding(5)])
        for ticket in tickets:
            ticket.close()
        await engine_side.settle()
        assert seen == ["Steps", "Steps", "Close", "CountLabels"]


async def test_a_request_that_ends_in_the_turn_in_which_it_began_leaves_nothing() -> None:
    """Even if another request ended earlier in the same turn: its end must not overtake its beginning."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        earlier = client.open("t", FAR, not_expected)
        await engine_side.settle()
        earlier.close()
        for _ in range(3):
            short = client.open("t", FAR, not_expected)
            short.reserve(10)
            short.load(ref("t"))
            short.close()
        await engine_side.settle()
        engine_side.assert_empty()


@pytest.mark.parametrize("how", ["before", "while it waits", "not awaited"])
async def test_a_refusal_reaches_the_request(how: str) -> None:
    """A request without a permit is refused where it waits, or by the function that it gave."""
    refused: list[ServiceError] = []
    async with rig(FEW) as engine_side:
        client, other = await engine_side.connect(), await engine_side.connect()
        holding = [other.open(task, FAR, not_expected) for task in "ab"]
        await engine_side.settle()
        if how == "before":
            losers: list[ServiceError] = []
            loser = other.open("z", FAR, losers.append)
            while not losers:
                await engine_side.settle()
            loser.close()
            await asyncio.sleep(3 * PUBLISH_S)  # until the page shows the refusal
            with pytest.raises(Overloaded) as early:
                client.open("c", FAR, refused.append)
            assert (early.value.reason, refused) == ("queued_requests", [])
            assert client._tickets == {}
        else:
            ticket = client.open("c", FAR, refused.append)
            if how == "while it waits":
                with pytest.raises(Overloaded) as late:
                    await ticket.granted()
                assert (late.value.reason, refused) == ("queued_requests", [])
            else:
                await engine_side.settle()
                assert [type(error) for error in refused] == [Overloaded]
            for step in (lambda: ticket.reserve(1), lambda: ticket.load(ref("c"))):
                with pytest.raises(Overloaded):
                    step()
            with pytest.raises(Overloaded):
                await ticket.compute(ref("c"), [encoding(1)])
            ticket.close()
        for held in holding:
            held.close()
        await engine_side.settle()
        engine_side.assert_empty()
        assert engine_side.engine.computed == []


async def test_each_kind_of_refusal_keeps_its_class() -> None:
    """Deadline, too many tokens, a broken adapter and a failed batch raise different errors; all is given back."""
    async with rig(FEW) as engine_side:
        client = await engine_side.connect()
        engine_side.registry.broken["bad"] = AdapterUnavailable("damaged")
        engine_side.registry.broken["worse"] = RuntimeError("out of memory")

        async def expect(kind: type[ServiceError], task: str = "t", deadline: float = FAR, tokens: int = 1) -> None:
            ticket = client.open(task, deadline, lambda error: None)
            ticket.reserve(tokens)
            ticket.load(ref(task))
            with pytest.raises(kind):
                await ticket.compute(ref(task), [encoding(1)])
            ticket.close()

        await expect(InvalidInput, tokens=101)
        await expect(AdapterUnavailable, "bad")
        await expect(AdapterUnavailable, "bad")  # repeated from memory, when the adapter is pinned
        await expect(InferenceFailed, "worse")
        await expect(InferenceFailed, "worse")
        engine_side.engine.error = ValueError("a kernel failed")
        await expect(InferenceFailed)
        engine_side.engine.error = None
        with pytest.raises(DeadlineExceeded):
            client.open("t", time.monotonic() - 1, not_expected)
        assert (await ask(client, "t", encoding(2, 7))).tolist() == [[7.0]]
        await engine_side.settle()
        engine_side.assert_empty()


async def test_tasks_of_one_request_are_refused_one_by_one() -> None:
    """The first task of a request is refused for a reason of its own: the others are answered, none waits for ever."""
    async with rig(Bounds(10, 100, 1e9)) as engine_side:
        client = await engine_side.connect()
        refused: list[ServiceError] = []
        first = client.open("a", FAR, refused.append)
        first.reserve(101)
        others = []
        for task in "bc":
            others.append(client.open(task, FAR, refused.append, beside=first))
            others[-1].reserve(5)
        with pytest.raises(InvalidInput):
            await first.granted()
        async with asyncio.timeout(5):
            for ticket in others:
                await ticket.granted()
            answers = await asyncio.gather(*(submit(ticket, encoding(5, 3)) for ticket in others))
        assert [rows.tolist() for rows in answers] == [[[3.0]], [[3.0]]]
        for ticket in (first, *others):
            ticket.close()
        await engine_side.settle()
        engine_side.assert_empty()


async def test_a_request_does_not_wait_for_its_own_tokens() -> None:
    """Tickets beside each other are judged without the tokens that the request holds already, as in one process."""
    bounds = Bounds(100, 10_000, 0.05)  # 1,000 tokens/s are assumed: one permit of 100 tokens would be too much
    async with rig(bounds) as engine_side:
        client = await engine_side.connect()
        first = client.open("a", FAR, not_expected)
        first.reserve(100)
        beside = client.open("b", FAR, not_expected, beside=first)
        await beside.granted()
        refused: list[ServiceError] = []
        alone = client.open("b", FAR, refused.append)
        with pytest.raises(Overloaded, match="an answer would take"):
            await alone.granted()
        for ticket in (first, beside, alone):
            ticket.close()
        await engine_side.settle()
        engine_side.assert_empty()


async def test_abandoned_requests_are_never_computed() -> None:
    """A request that is cancelled in the queue, or while its adapter is loaded, gives back all that it held."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        engine_side.engine.open.clear()
        running = client.open("t", FAR, not_expected)
        first = submit(running, encoding(3, 1))
        await engine_side.settle()
        assert engine_side.engine.computed == [1]
        engine_side.registry.may_load.clear()
        waiting = [client.open(task, FAR, not_expected) for task in ("t", "t", "slow")]
        tasks = [submit(ticket, encoding(3, 50 + number)) for number, ticket in enumerate(waiting)]
        await engine_side.settle()
        assert engine_side.admission.num_requests == 4
        assert engine_side.num_pins >= 4
        for ticket, task in zip(waiting, tasks, strict=True):
            task.cancel()
            ticket.close()
        await engine_side.settle()
        assert (engine_side.admission.num_requests, engine_side.admission.num_tokens) == (1, 3)
        engine_side.registry.may_load.set()
        engine_side.engine.open.set()
        assert (await first).tolist() == [[1.0]]
        running.close()
        await engine_side.settle()
        assert engine_side.engine.computed == [1]
        engine_side.assert_empty()


async def test_a_connection_that_ends_gives_everything_back() -> None:
    """Permits, tokens, pins, upload permits and files of a killed process; the others go on."""
    async with rig(max_uploads=1) as engine_side:
        killed, other = await engine_side.connect(), await engine_side.connect()
        engine_side.engine.open.clear()
        engine_side.registry.may_check.clear()
        tickets = [killed.open(task, FAR, lambda error: None) for task in "abc"]
        computing = [submit(ticket, encoding(3, number)) for number, ticket in enumerate(tickets)]
        tickets[0].reserve(1)
        permit = killed.upload_permit()
        await permit.__aenter__()
        checking = asyncio.create_task(killed.check_upload(b"file", load=True))
        warming = asyncio.create_task(killed.announce())
        while not engine_side.registry.files:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)
        with pytest.raises(Overloaded, match="ADAKRON_MAX_UPLOADS"):
            async with other.upload_permit():
                pass
        later = asyncio.create_task(ask(other, "d", encoding(2, 9)))
        await engine_side.settle()
        assert engine_side.admission.num_requests == 4
        assert killed._channel is not None
        assert killed._channel._transport is not None
        killed._channel._transport.abort()
        ended = await asyncio.gather(*computing, checking, warming, return_exceptions=True)
        assert [type(error) for error in ended[:4]] == [EngineDied] * 4
        with pytest.raises(EngineDied):
            killed.open("t", FAR, not_expected)
        for ticket in tickets:
            ticket.close()
        await permit.__aexit__(None, None, None)
        await engine_side.settle()
        assert engine_side.admission.num_requests == 1
        assert engine_side.local.num_uploads == 0
        engine_side.engine.open.set()
        assert (await later).tolist() == [[9.0]]
        async with other.upload_permit():
            assert engine_side.local.num_uploads == 1
        await engine_side.settle()
        assert 9 in engine_side.engine.computed
        assert engine_side.engine.computed.count(1) + engine_side.engine.computed.count(2) <= 2
        engine_side.assert_empty()
        assert list(engine_side.folder.glob("upload-*")) == []


async def test_the_death_of_the_engine_fails_all_that_wait() -> None:
    """Requests, calls and later steps get EngineDied; those that wait for nothing are refused by their function."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        engine_side.engine.open.clear()
        engine_side.registry.may_check.clear()
        refused: list[ServiceError] = []
        idle = client.open("a", FAR, refused.append)
        computed = submit(client.open("b", FAR, not_expected), encoding(3))
        calls = [asyncio.create_task(client.check_upload(b"x", load=False))]
        await engine_side.settle()
        (peer,) = engine_side.server._peers
        peer.channel.close()
        outcomes = await asyncio.gather(computed, *calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [EngineDied] * 2
        assert [type(error) for error in refused] == [EngineDied]
        assert client.died.is_set()
        for step in (lambda: client.check("t", FAR), lambda: idle.reserve(1)):
            with pytest.raises(EngineDied):
                step()
        with pytest.raises(EngineDied):
            await client.warm(ref("t"))
        idle.close()


async def test_an_upload_permit_that_is_cancelled_while_it_is_asked_for() -> None:
    """A client that leaves at any moment takes no permit with it."""
    async with rig(max_uploads=1) as engine_side:
        client = await engine_side.connect()

        async def hold() -> None:
            async with client.upload_permit():
                await asyncio.sleep(60)

        for turns in range(12):
            task = asyncio.create_task(hold())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await engine_side.settle()
            assert engine_side.local.num_uploads == 0, turns
        async with client.upload_permit():
            with pytest.raises(Overloaded):
                async with client.upload_permit():
                    pass
            await engine_side.settle()
            assert engine_side.local.num_uploads == 1
        await engine_side.settle()
        engine_side.assert_empty()


async def test_an_upload_that_is_cancelled_leaves_no_file() -> None:
    """Whether the file is being written or checked; a check that ends gives the file's bytes back."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        checked = await client.check_upload(b"content", load=False)
        assert (checked.data, checked.metadata_json) == (b"content", "content")
        engine_side.registry.may_check.clear()
        for pause_s in (0.0, 0.001, 0.05):
            task = asyncio.create_task(client.check_upload(b"x" * 10**6, load=False))
            await asyncio.sleep(pause_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        engine_side.registry.may_check.set()
        async with asyncio.timeout(10):
            while list(engine_side.folder.glob("upload-*")):  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.01)
        await engine_side.settle()
        engine_side.assert_empty()


async def test_calls_of_the_registry() -> None:
    """`warm` loads an adapter once the engine side has read the registry."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        await client.warm(ref("t"))
        assert engine_side.cache.is_resident("t")
        assert engine_side.registry.num_reads == 1
        engine_side.registry.broken["bad"] = AdapterUnavailable("damaged")
        with pytest.raises(AdapterUnavailable):
            await client.warm(ref("bad"))


async def test_a_checked_file_is_loaded_before_it_is_published() -> None:
    """With `load`, from the bytes that were checked, without a read of the registry; a failed load is the call's."""
    async with rig() as engine_side:
        client, registry = await engine_side.connect(), engine_side.registry
        await client.check_upload(b"content", load=False)
        assert (registry.checked, registry.offered) == (["digest"], [])
        assert not engine_side.cache.is_resident("digest")
        await client.check_upload(b"content", load=True)
        assert registry.offered == [("digest", b"content")]
        assert engine_side.cache.is_resident("digest")
        assert registry.num_reads == 0
    async with rig(memory_bytes=1) as engine_side:
        client = await engine_side.connect()
        engine_side.registry.broken["digest"] = AdapterUnavailable("damaged")
        with pytest.raises(AdapterUnavailable, match="damaged"):
            await client.check_upload(b"content", load=True)
        await client.check_upload(b"content", load=False)
        await engine_side.settle()
        engine_side.assert_empty()


async def test_an_upload_without_memory_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """When pinned adapters fill the memory, the call fails in time and leaves nothing behind."""
    monkeypatch.setattr("service.engine_process.local.LOAD_S", 0.05)
    async with rig(memory_bytes=1) as engine_side:
        client = await engine_side.connect()
        with (
            engine_side.cache.pin(ref("busy")),
            pytest.raises(AdapterUnavailable, match="all adapter memory is in use"),
        ):
            await client.check_upload(b"content", load=True)
        await engine_side.settle()
        engine_side.assert_empty()


async def test_a_process_that_closes_first() -> None:
    """`close` sends what is queued and ends the connection; nothing of it stays."""
    async with rig() as engine_side:
        client = await engine_side.connect()
        client.open("t", FAR, lambda error: None)
        await close([client])
        assert engine_side.server._peers == set()
        assert engine_side.admission.num_requests == 0
