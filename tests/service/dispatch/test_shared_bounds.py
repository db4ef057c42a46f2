"""Bounds hold over all HTTP processes: random steps of three connections against one Admission of their own."""

import asyncio
import time
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import Permit
from service.dispatch.client import RemoteDispatcher
from service.dispatch.dispatcher import Ticket
from service.errors import ServiceError
from service.scheduling.admission import Admission, Bounds
from tests.support.dispatching import FAR, Rig, close, ref, rig
from tests.support.scheduling import encoding

BOUNDS = Bounds(max_requests=5, max_tokens=60, max_wait_s=0.09)  # 1,000 tokens/s are assumed
TASKS = "abc"
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # the connection
        st.sampled_from(["open", "open", "open", "reserve", "compute", "abandon", "close", "end"]),
        st.integers(0, 20),  # a task, a ticket or a number of tokens
    ),
    max_size=40,
)


@dataclass
class Pair:
    """One request: its ticket, and the permit that the reference gave it; None if either is refused."""

    connection: int
    ticket: Ticket
    permit: Permit | None
    refused: list[ServiceError]


class Both:
    """The dispatchers, and an Admission to which the same steps are applied."""

    def __init__(self, engine_side: Rig, clients: list[RemoteDispatcher]) -> None:
        self.engine_side, self.clients = engine_side, clients
        self.reference = Admission(BOUNDS, engine_side.throughput, weight=engine_side.weight)
        self.pairs: list[Pair] = []

    async def step(self, connection: int, name: str, number: int) -> None:
        """Take a step on both sides, and compare them."""
        client, own = self.clients[connection], [pair for pair in self.pairs if pair.connection == connection]
        pair = own[number % len(own)] if own else None
        if name == "open":
            self.open(connection, TASKS[number % 3])
        elif name == "end":
            await close([client])
            self.clients[connection] = await self.engine_side.connect()
            for one in own:
                one.ticket.close()
                self.release(one)
        elif pair is not None:
            if name == "reserve":
                self.reserve(pair, number)
            else:
                if name != "close":
                    await self.compute(pair, number + 1, abandon=name == "abandon")
                pair.ticket.close()
                self.release(pair)
        await self.engine_side.settle()
        self.compare()

    def open(self, connection: int, task: str) -> None:
        """Ask for a permit."""
        deadline, refused = time.monotonic() + FAR, list[ServiceError]()
        try:
            permit = self.reference.admit(task, deadline)
        except ServiceError as expected:
            permit = None
            try:
                ticket = self.clients[connection].open(task, deadline, refused.append)
            except type(expected):  # refused by the page
                return
        else:
            ticket = self.clients[connection].open(task, deadline, refused.append)
        self.pairs.append(Pair(connection, ticket, permit, refused))

    def reserve(self, pair: Pair, num_tokens: int) -> None:
        """Hold tokens; a refusal ends the request."""
        if pair.permit is None or pair.permit.num_tokens:
            return
        try:
            self.reference.reserve(pair.permit, num_tokens)
        except ServiceError:
            self.reference.release(pair.permit)
            pair.permit = None
        pair.ticket.reserve(num_tokens)

    async def compute(self, pair: Pair, num_tokens: int, *, abandon: bool) -> None:
        """Compute, or leave while the engine is busy; a request that was refused is refused again."""
        engine = self.engine_side.engine
        if abandon:
            engine.open.clear()
        asked = pair.ticket.compute(ref(pair.ticket.task), [encoding(num_tokens, 5)])
        work = asyncio.create_task(asked)
        if pair.permit is None:
            assert isinstance((await asyncio.gather(work, return_exceptions=True))[0], ServiceError)
        elif abandon:
            await self.engine_side.settle()
            self.reference.set_num_tokens(pair.permit, num_tokens)
            self.compare()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        else:
            assert (await work).tolist() == [[5.0]]
        engine.open.set()

    def release(self, pair: Pair) -> None:
        """End a request."""
        self.pairs.remove(pair)
        if pair.permit is not None:
            self.reference.release(pair.permit)

    def compare(self) -> None:
        """The numbers of the engine process are those of the reference, for each task; so are the refusals."""
        assert self.engine_side.admission.state() == self.reference.state()
        for pair in self.pairs:
            assert bool(pair.refused) == (pair.permit is None), pair


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_three_processes_share_the_bounds_exactly(steps: list[tuple[int, str, int]]) -> None:
    """After every step the permits and tokens are those of one Admission that took the same steps."""

    async def run() -> None:
        async with rig(BOUNDS) as engine_side:
            both = Both(engine_side, [await engine_side.connect() for _ in range(3)])
            engine_side.throughput.observe = lambda *given, **options: None  # type: ignore[method-assign]  # no speed
            for connection, name, number in steps:
                await both.step(connection, name, number)
            for pair in list(both.pairs):
                pair.ticket.close()
                both.release(pair)
            await engine_side.settle()
            both.compare()
            engine_side.assert_empty()

    asyncio.run(run())
