"""Permits: which requests are refused, with what time to wait, and that every permit comes back."""

import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import Permit
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, ShuttingDown
from service.scheduling.admission import Admission, Bounds
from service.scheduling.throughput import ThroughputEstimator
from tests.support.scheduling import Clock

FAR = 1e9


def make(
    *, rate: float | None = None, clock: Clock | None = None, max_batch_tokens: int = 256, **bounds: float
) -> Admission:
    """Make an Admission with unlimited bounds except the given ones, and an engine of `rate` tokens a second."""
    throughput = ThroughputEstimator(max_batch_tokens=max_batch_tokens, target_batch_s=1e9)
    if rate is not None:
        throughput.observe(int(rate), 1.0, full=True)
    limits = Bounds(**({"max_requests": 10**6, "max_tokens": 10**9, "max_wait_s": 1e9} | bounds))  # type: ignore[arg-type]
    weights = {"heavy": 4.0}
    return Admission(limits, throughput, weight=lambda task: weights.get(task, 1.0), clock=clock or Clock())


def holding(admission: Admission, task: str, num_tokens: int) -> Permit:
    permit = admission.admit(task, FAR)
    admission.reserve(permit, num_tokens)
    return permit


def fill(admission: Admission, task: str, num_tokens: int) -> None:
    """Admit requests of one task until one is refused."""
    with suppress(Overloaded):
        while True:
            holding(admission, task, num_tokens)


def refusal(admission: Admission, task: str, deadline: float = FAR) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        admission.check(task, deadline)
    return caught.value


def test_requests_are_bounded() -> None:
    """However many tasks ask, no more than the most are admitted at once, and one that is answered makes room."""
    admission = make(max_requests=8)
    permits = [admission.admit(f"task{number}", FAR) for number in range(8)]
    assert refusal(admission, "another").reason == "queued_requests"
    admission.release(permits[3])
    admission.admit("another", FAR)
    assert refusal(admission, "one more").reason == "queued_requests"


def test_tokens_are_bounded() -> None:
    """At the bound no request is admitted until tokens are computed or a request is answered."""
    admission = make(max_tokens=1000)
    permits = [holding(admission, f"task{number}", 250) for number in range(4)]
    assert refusal(admission, "another").reason == "queued_tokens"
    admission.give_back(permits[0], 100)
    admission.check("another", FAR)


def test_one_task_leaves_room_for_the_others() -> None:
    """A task may hold as much as is left free, so another task is always admitted."""
    admission = make(max_requests=100, max_tokens=10_000)
    fill(admission, "hot", 10)
    assert admission.num_requests == 51
    for _ in range(5):
        holding(admission, "rare", 10)
    fill(admission, "long", 400)
    holding(admission, "newcomer", 10)


def test_many_inputs_and_one_obey_the_same_rule() -> None:
    """A request is judged by the queue before it, not by its size: a large one is admitted whenever a small one is."""
    for num_tokens in (1, 1000):
        admission = make(max_tokens=1000)
        holding(admission, "a", 500)
        holding(admission, "a", num_tokens)
        assert refusal(admission, "a").reason == "queued_tokens"


def test_what_could_never_wait_is_refused_for_good() -> None:
    """A request larger than the whole bound is InvalidInput, not to be retried; one of exactly its size is admitted."""
    admission = make(max_tokens=1000)
    with pytest.raises(InvalidInput, match="at most 1000 may wait"):
        admission.reserve(admission.admit("a", FAR), 1001)
    holding(admission, "b", 1000)


def test_what_was_reserved_too_much_comes_back() -> None:
    """A tokenized request holds its true number of tokens, less those that are computed."""
    admission = make()
    permit = holding(admission, "a", 128)
    admission.set_num_tokens(permit, 30)
    assert admission.num_tokens == 30
    admission.give_back(permit, 20)
    assert admission.num_tokens == 10
    admission.release(permit)
    assert (admission.num_tokens, admission.num_requests) == (0, 0)


def test_retry_after_is_the_time_until_there_is_room() -> None:
    """Retry-After is the time until the predicted wait is within the bound; then a request is admitted."""
    admission = make(rate=100, max_wait_s=20)
    permit = holding(admission, "a", 4000)
    error = refusal(admission, "a")
    assert error.reason == "predicted_latency"
    assert error.retry_after_s == math.ceil((4000 + 256) / 100 - 20)
    admission.give_back(permit, int(error.retry_after_s * 100))
    admission.check("a", FAR)


@pytest.mark.parametrize("bounds", [{"max_requests": 10}, {"max_tokens": 4000}])
def test_retry_after_of_a_full_queue(bounds: dict[str, float]) -> None:
    """Retry-After is exact for exhausted requests or tokens, too: one second less would not do."""
    admission = make(rate=100, **bounds)
    permits = [holding(admission, f"task{number}", 400) for number in range(10)]
    error = refusal(admission, "another")
    assert error.retry_after_s == (4 if "max_requests" in bounds else 1)
    for _ in range(math.ceil(error.retry_after_s * 100 / 400)):
        admission.release(permits.pop())
    admission.check("another", FAR)


def test_retry_after_is_at_least_a_second() -> None:
    """Retry-After is at least one second, also for an engine that is unmeasured or very fast."""
    for rate in (None, 1_000_000):
        admission = make(rate=rate, max_requests=1)
        holding(admission, "a", 100)
        assert refusal(admission, "b").retry_after_s == 1


def test_a_deadline_that_cannot_be_met_is_refused() -> None:
    """A request waits for the 4,000 tokens before it at 1,000 a second and for its own batch, and is admitted only if
    that leaves a quarter of its time."""
    clock = Clock()
    admission = make(rate=1000, clock=clock)
    holding(admission, "a", 4000)
    assert refusal(admission, "a", clock.now + 4.256 / 0.75 - 0.01).reason == "deadline"
    admission.check("a", clock.now + 4.256 / 0.75 + 0.01)


def test_a_task_waits_for_its_share_only() -> None:
    """Before a task that has nothing queued stands a turn of each other, not all that another has; weights count."""
    clock = Clock()
    admission = make(rate=1000, clock=clock)
    holding(admission, "hot", 50_000)
    for task, holds in (("small", 10), ("light", 1000), ("heavy", 1000)):
        holding(admission, task, holds)
    for task, before in (
        ("rare", 256 + 10 + 256 + 1000),
        ("small", 266 + 10 + 266 + 1000),
        ("light", 1256 + 10 + 1000 + 1000),
        ("heavy", 314 + 10 + 314 + 1000),
    ):
        deadline = clock.now + (3 * 256 + before) / 1000 / 0.75
        assert refusal(admission, task, deadline - 0.01).reason == "deadline"
        admission.check(task, deadline + 0.01)


def test_an_empty_queue_refuses_no_request() -> None:
    """However slow the engine was and however short the deadline."""
    clock = Clock()
    admission = make(rate=1, clock=clock, max_wait_s=0.001, max_requests=1)
    assert isinstance(admission.admit("a", clock.now + 0.001), Permit)


def test_a_deadline_that_is_over() -> None:
    """Its time is over: that is no overload."""
    clock = Clock()
    with pytest.raises(DeadlineExceeded):
        make().check("a", clock.now)


def test_closing() -> None:
    """A server that drains gives no permit."""
    admission = make()
    admission.closing = True
    with pytest.raises(ShuttingDown):
        admission.check("a", FAR)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400), st.integers(0, 5)), max_size=80))
def test_the_sums_are_those_of_the_permits(steps: list[tuple[str, int, int]]) -> None:
    """Sequences of admissions, computations and releases never exceed the bounds, and lose no token."""
    admission = make(max_requests=12, max_tokens=1000)
    permits: list[Permit] = []
    for task, num_tokens, what in steps:
        if what <= 2:
            try:
                permit = admission.admit(task, FAR)
            except Overloaded:
                continue
            permits.append(permit)
            if what and admission.num_tokens < 500:
                admission.reserve(permit, num_tokens)
        elif permits:
            permit = permits[num_tokens % len(permits)]
            if what == 3:
                admission.set_num_tokens(permit, min(permit.num_tokens, num_tokens))
            elif what == 4:
                admission.give_back(permit, num_tokens)
            else:
                permits.remove(permit)
                admission.release(permit)
        assert admission.num_requests == len(permits) <= 12
        assert admission.num_tokens == sum(permit.num_tokens for permit in permits)
    for permit in permits:
        admission.release(permit)
    assert (admission.num_tokens, admission.num_requests, admission._held) == (0, 0, {})


def test_a_request_does_not_wait_for_itself() -> None:
    """One request for many tasks is not refused for the time of its own tokens, however slow the engine is."""
    admission = make(rate=10, max_wait_s=2.0)
    beside = 0
    for index in range(64):
        permit = admission.admit(f"task{index}", FAR, beside=beside)
        admission.reserve(permit, 128, beside=beside)
        beside += 128
    with pytest.raises(Overloaded):
        admission.admit("another", FAR)
