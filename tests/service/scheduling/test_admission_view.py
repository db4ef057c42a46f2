"""Admission.state and AdmissionView: another process decides as the one that gives the permits."""

from hypothesis import given
from hypothesis import strategies as st

from service.core import Permit
from service.errors import Overloaded, ServiceError
from service.scheduling.admission import Admission, AdmissionState, Bounds, Held
from service.scheduling.admission_view import AdmissionView
from service.scheduling.throughput import ThroughputEstimator
from tests.support.scheduling import Clock

TASKS = ("a", "b", "heavy", "light", "never asked")
WEIGHTS = {"heavy": 4.0, "light": 1 / 64}  # powers of two: no sum is rounded
STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "reserve", "give back", "release"]), st.integers(0, 30), st.integers(0, 400)),
    max_size=40,
)
BOUNDS = st.builds(Bounds, st.integers(1, 20), st.integers(1, 2000), st.floats(0.01, 5))


def weight(task: str) -> float:
    return WEIGHTS.get(task, 1.0)


def filled(bounds: Bounds, rate: int, clock: Clock, steps: list[tuple[str, int, int]]) -> Admission:
    """Return an Admission after these steps, as far as it permits them."""
    throughput = ThroughputEstimator(max_batch_tokens=256, target_batch_s=0.1)
    throughput.observe(rate, 1.0, full=True)
    admission = Admission(bounds, throughput, weight=weight, clock=clock)
    permits: list[Permit] = []
    for step, which, number in steps:
        try:
            if step == "admit":
                permits.append(admission.admit(TASKS[which % 4], clock.now + number))
            elif permits:
                permit = permits[which % len(permits)]
                if step == "reserve":
                    admission.reserve(permit, number)
                elif step == "give back":
                    admission.give_back(permit, number)
                else:
                    permits.remove(permit)
                    admission.release(permit)
        except ServiceError:
            pass
    return admission


def decision(admission: Admission, task: str, deadline: float) -> tuple[object, ...]:
    """Return what `check` raises, with all that a client sees of it."""
    try:
        admission.check(task, deadline)
    except ServiceError as error:
        return type(error), str(error), error.__dict__
    return ()


@given(bounds=BOUNDS, rate=st.integers(1, 5000), steps=STEPS, closing=st.booleans())
def test_the_copy_decides_alike(bounds: Bounds, rate: int, steps: list[tuple[str, int, int]], closing: bool) -> None:
    """Every task and deadline gets the same permit, or the same refusal with the same time to wait."""
    clock = Clock()
    admission = filled(bounds, rate, clock, steps)
    admission.closing = closing
    copy = AdmissionView(bounds, admission.state(), weight=weight, clock=clock)
    for task in TASKS:
        for left_s in (-1.0, 0.05, 1.0, 100.0):
            assert decision(copy, task, clock.now + left_s) == decision(admission, task, clock.now + left_s)


@given(bounds=BOUNDS, rate=st.integers(1, 5000), steps=STEPS, num_tasks=st.integers(0, 4))
def test_a_state_without_some_tasks_refuses_no_more(
    bounds: Bounds, rate: int, steps: list[tuple[str, int, int]], num_tasks: int
) -> None:
    """A request that the exact numbers permit is never refused by a page that lacks tasks."""
    clock = Clock()
    admission = filled(bounds, rate, clock, steps)
    state = admission.state().limited_to(num_tasks)
    assert len(state.held) <= num_tasks
    copy = AdmissionView(bounds, state, weight=weight, clock=clock)
    for task in TASKS:
        if decision(copy, task, clock.now + 1)[:1] == (Overloaded,):
            assert decision(admission, task, clock.now + 1)[:1] == (Overloaded,)


def test_a_state_is_a_copy() -> None:
    """Permits that are given later do not change it, and it equals one with the same numbers."""
    clock = Clock()
    admission = filled(Bounds(10, 1000, 10.0), 1000, clock, [("admit", 0, 100), ("reserve", 0, 30)])
    state = admission.state()
    admission.admit("b", clock.now + 100)
    assert state == AdmissionState(False, 1, 30, 1000.0, 256, {"a": (1.0, 1, 30)})


@given(
    bounds=BOUNDS,
    rate=st.integers(1, 5000),
    steps=STEPS,
    first=st.lists(st.sampled_from(TASKS), max_size=6),
    expected=st.lists(st.tuples(st.sampled_from(TASKS), st.sampled_from([1, 1, -1])), max_size=12),
)
def test_expected_requests_count(
    bounds: Bounds, rate: int, steps: list[tuple[str, int, int]], first: list[str], expected: list[tuple[str, int]]
) -> None:
    """A view decides as an Admission in which the tasks of the requests on their way hold the mean tokens more."""
    clock = Clock()
    admission = filled(bounds, rate, clock, steps)
    view = AdmissionView(bounds, admission.state(), weight=weight, expected=first, clock=clock)
    for number, (task, sign) in enumerate([*((task, 1) for task in first), *expected]):
        if number >= len(first):
            view.expect(task, sign=sign)
        if sign > 0 or task in admission._held:
            mean = admission.num_tokens // max(1, admission.num_requests)
            held = admission._held.setdefault(task, Held(weight(task)))
            for one in (held, admission):
                one.num_requests += sign
                one.num_tokens += sign * mean
    for task in TASKS:
        for left_s in (0.05, 1.0, 100.0):
            assert decision(view, task, clock.now + left_s) == decision(admission, task, clock.now + left_s)
