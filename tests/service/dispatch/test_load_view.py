"""LoadView: an HTTP process counts its own requests that the page of the engine process does not contain yet."""

import asyncio
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import Permit
from service.dispatch.load_page import Load, LoadPage
from service.dispatch.load_view import LoadView
from service.dispatch.messages import Close
from service.errors import Overloaded, ServiceError
from service.scheduling.admission import Admission, Bounds
from service.scheduling.throughput import ThroughputEstimator
from tests.support.dispatching import FAR, rig

TASKS = "abc"
TOKENS = 7  # of each request
NAMES = ["ask", "ask", "ask", "turn", "arrive", "publish", "release"]
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.integers(0, 8)), min_size=12, max_size=60)


class Sides:
    """An Admission with its page, and HTTP processes. Openings arrive and pages appear when a step says so."""

    def __init__(self, folder: Path, bounds: Bounds, num_processes: int) -> None:
        self.bounds = bounds
        throughput = ThroughputEstimator(max_batch_tokens=256, target_batch_s=0.1)
        self.admission = Admission(bounds, throughput, weight=lambda task: 1.0, clock=time.monotonic)
        self.page = LoadPage.create(folder / "load")
        loop = asyncio.get_running_loop()
        self.views = [
            LoadView(LoadPage.attach(folder / "load"), bounds, weight=lambda task: 1.0, loop=loop)
            for _ in range(num_processes)
        ]
        self.on_their_way: list[deque[str]] = [deque() for _ in self.views]
        self.num_arrived = [0] * num_processes
        self.permits: list[Permit] = []
        self.num_refused = 0
        self.admission.refused_at = time.monotonic() + 60  # the page is believed
        self.publish()

    def ask(self, process: int, task: str) -> bool:
        """Check a request by its head and open it at once; return whether it was sent."""
        try:
            self.views[process].check(task, FAR)
            self.views[process].open(task, FAR)
        except Overloaded:
            return False
        self.on_their_way[process].append(task)
        return True

    def arrive(self, process: int, number: int) -> None:
        """Let so many openings of a process arrive."""
        for _ in range(min(number, len(self.on_their_way[process]))):
            self.num_arrived[process] += 1
            try:
                permit = self.admission.admit(self.on_their_way[process].popleft(), FAR)
            except Overloaded:
                self.num_refused += 1
                continue
            self.admission.reserve(permit, TOKENS)
            self.permits.append(permit)

    def publish(self) -> None:
        """Write the page."""
        arrived = {view.connection: number for view, number in zip(self.views, self.num_arrived, strict=True)}
        self.page.write(Load(self.admission.state(), arrived))

    async def step(self, name: str, process: int, number: int) -> bool:
        """Take a step; return whether a request was sent."""
        process %= len(self.views)
        if name == "ask":
            return self.ask(process, TASKS[number % 3])
        if name == "turn":
            await asyncio.sleep(0)
        elif name == "arrive":
            self.arrive(process, number)
        elif name == "publish":
            self.publish()
        elif self.permits:
            self.admission.release(self.permits.pop(number % len(self.permits)))
        return False


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, max_requests=st.integers(1, 4))
def test_one_process_passes_no_request_that_is_refused_later(
    steps: list[tuple[str, int, int]], max_requests: int
) -> None:
    """Whenever openings arrive and pages appear: a request that passes the check gets its permit."""

    async def run(folder: Path) -> None:
        sides = Sides(folder, Bounds(max_requests, 10**9, 1e9), 1)
        for step in steps:
            await sides.step(*step)
        sides.arrive(0, len(steps))
        assert sides.num_refused == 0

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, max_requests=st.integers(1, 9), max_wait_s=st.floats(0.005, 0.2))
def test_a_process_decides_as_one_admission(
    steps: list[tuple[str, int, int]], max_requests: int, max_wait_s: float
) -> None:
    """Three processes: each decides as the Admission did when it published, with its own openings since then."""

    async def run(folder: Path) -> None:
        bounds = Bounds(max_requests, 10**9, max_wait_s)
        sides = Sides(folder, bounds, 3)
        seen = Sides(folder / "seen", bounds, 1).admission
        missing: list[list[str]] = [[], [], []]  # openings that the page does not contain
        for name, process, number in steps:
            sent = await sides.step(name, process, number)
            if sent:
                missing[process].append(TASKS[number % 3])
            if name == "publish":
                seen = copy_of(sides, folder)
                missing = [list(tasks) for tasks in sides.on_their_way]
            for view, tasks in zip(sides.views, missing, strict=True):
                expected = {task: refusal_with(seen, tasks, task) for task in TASKS}
                assert {task: refusal(view, task) for task in TASKS} == expected

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "seen").mkdir()
        asyncio.run(run(Path(name)))


def copy_of(sides: Sides, folder: Path) -> Admission:
    """Return an Admission that holds what the one of `sides` holds."""
    throughput = ThroughputEstimator(max_batch_tokens=256, target_batch_s=0.1)
    copy = Admission(Bounds(10**9, 10**9, 1e9), throughput, weight=lambda task: 1.0)
    for permit in sides.permits:
        copy.reserve(copy.admit(permit.task, FAR), TOKENS)
    copy._bounds = sides.bounds
    return copy


def refusal_with(admission: Admission, tasks: list[str], task: str) -> str:
    """Return the refusal of `admission` if a request of each of `tasks` held the mean tokens; "" for none."""
    bounds, admission._bounds = admission._bounds, Bounds(10**9, 10**9, 1e9)
    mean = TOKENS if admission.num_requests else 0
    permits = []
    for one in tasks:
        permits.append(admission.admit(one, FAR))
        admission.reserve(permits[-1], mean)
    admission._bounds = bounds
    try:
        admission.check(task, FAR)
    except ServiceError as error:
        return str(error)
    finally:
        for permit in permits:
            admission.release(permit)
    return ""


def refusal(view: LoadView, task: str) -> str:
    """Return how the view would refuse a request, without counting it; "" for none."""
    try:
        view._check(task, FAR)
    except ServiceError as error:
        return str(error)
    return ""


async def test_a_head_that_is_never_opened_counts_for_two_turns(tmp_path: Path) -> None:
    """A request of an unknown task takes no room, and a page that appears meanwhile changes nothing of that."""
    sides = Sides(tmp_path, Bounds(1, 10**9, 1e9), 1)
    (view,) = sides.views
    view.check("unknown", FAR)
    for _ in range(2):
        with pytest.raises(Overloaded, match="1 requests are waiting"):
            view.check("a", FAR)
        sides.publish()
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        view.check("a", FAR)
    await asyncio.sleep(0)
    assert sides.ask(0, "a")
    assert not sides.ask(0, "b")


def full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Sides, list[float]]:
    """Return sides whose last refusal is a second ago and that have no room, and the clock: `now` alone."""
    sides, now = Sides(folder, Bounds(1, 10**9, 1e9), 1), [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    sides.admission._clock, sides.admission.refused_at = lambda: now[0], now[0] - 1.5
    sides.permits.append(sides.admission.admit("a", FAR))
    sides.publish()
    return sides, now


async def test_old_numbers_are_questioned_by_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second after the last refusal one request asks; the others are refused meanwhile, and while it is refused."""
    sides, now = full(tmp_path, monkeypatch)
    for _ in range(3):
        assert [sides.ask(0, task) for task in "abcab"] == [True, False, False, False, False]
        now[0] += 10  # however long it is on its way
        sides.publish()
        assert not sides.ask(0, "b")
        sides.arrive(0, 9)
        sides.publish()
        assert not sides.ask(0, "c")
        now[0] += 1.5
    assert sides.num_refused == 3


async def test_a_question_that_is_permitted_ends_the_belief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that just fill a bound are refused by old numbers once, and not again before the next refusal."""
    sides, now = full(tmp_path, monkeypatch)
    assert sides.ask(0, "b")
    sides.admission.release(sides.permits.pop())
    sides.arrive(0, 1)
    sides.publish()
    for _ in range(3):  # the page has the earlier permit each time
        assert sides.ask(0, "c")
        sides.admission.release(sides.permits.pop())
        sides.arrive(0, 1)
        sides.publish()
    assert sides.num_refused == 0
    sides.admission.refused_at = now[0]
    sides.publish()
    assert not sides.ask(0, "c")


async def test_without_a_question_the_belief_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds after the last refusal all pass; a question that is never opened leaves its place to another."""
    sides, now = full(tmp_path, monkeypatch)
    (view,) = sides.views
    view.check("unknown", FAR)
    assert not sides.ask(0, "b")
    for _ in range(2):
        await asyncio.sleep(0)
    assert sides.ask(0, "b")
    assert not sides.ask(0, "b")
    sides.arrive(0, 1)
    sides.publish()
    now[0] += 2
    assert [sides.ask(0, task) for task in "abc"] == [True] * 3


async def test_a_flood_passes_through_no_gap(tmp_path: Path) -> None:
    """Over sockets, with a page in each turn of the loop: all that is sent after a refusal gets its permit."""
    async with rig(Bounds(6, 10**6, 1e9)) as engine_side:
        client, other, refused = await engine_side.connect(), await engine_side.connect(), list[ServiceError]()
        held = deque(client.open(task, FAR, refused.append) for task in "abcdefgh")
        await engine_side.settle()
        assert [type(error) for error in refused] == [Overloaded] * 2
        num_sent = 0
        for number in range(2000):
            if number % 5 == 0:
                held.popleft().close()
            with suppress(Overloaded):
                client.check(TASKS[number % 3], FAR)
                held.append(client.open(TASKS[number % 3], FAR, refused.append))
                num_sent += 1
            other.send(Close([]))
            await asyncio.sleep(0)
        await engine_side.settle()
        assert len(refused) == 2
        assert num_sent > 300
        for ticket in held:
            ticket.close()
        await engine_side.settle()
        engine_side.assert_empty()
