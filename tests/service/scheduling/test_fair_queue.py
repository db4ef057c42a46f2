"""The order of service: fair between tasks, first come first served inside one, and the bound that fairness means."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import Part, Request
from service.scheduling import fair_queue
from service.scheduling.fair_queue import TURN_TOKENS, FairQueue
from tests.support.reference_queue import TASKS, WEIGHTS, SlowQueue
from tests.support.scheduling import queued

MAX_LENGTH = 40
TURN = 50
Step = tuple[str, str, int]  # what, task, number


def of_weight_one(task: str) -> float:
    return 1.0


def wanted(request: Request) -> bool:
    return False


def served(parts: list[Part]) -> list[tuple[str, int, int]]:
    """(task, first, number of inputs) of each part."""
    return [(part.request.task, part.first, len(part.encodings)) for part in parts]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from(TASKS), st.integers(1, MAX_LENGTH)),
        st.tuples(st.just("push many"), st.sampled_from(TASKS), st.integers(2, 12)),
        st.tuples(st.just("discard"), st.sampled_from(TASKS), st.integers(0, 5)),
        st.tuples(st.just("take"), st.just(""), st.integers(30, 200)),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(steps=steps)
def test_it_serves_as_the_slow_queue_does(steps: list[Step]) -> None:
    """The queue gives the same inputs in the same order as the slow reference, for any sequence of operations, also
    when counters are dropped as early as possible."""
    fast, slow = FairQueue(WEIGHTS.__getitem__, TURN), SlowQueue(TURN)
    requests: dict[str, list[Request]] = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fair_queue, "_MAX_REMEMBERED", 0)
        for what, task, number in steps:
            if what == "take":
                again = None if number % 3 else number // 2
                turn = None if number % 4 else TURN // 2
                parts = fast.take(number, wanted, again_tokens=again, turn_tokens=turn)
                assert served(parts) == slow.take(number, again, turn or TURN)
            elif what == "discard" and requests[task]:
                request = requests[task][-1 - number % len(requests[task])]
                fast.discard(request)
                slow.discard(request)
            elif what != "discard":
                request = queued(task, *([number] if what == "push" else [7] * number))
                requests[task].append(request)
                fast.push(request)
                slow.push(request)
            left = [request for entries in slow.waiting.values() for request, _ in entries]
            assert len(fast) == len(left)
            assert fast.num_tokens == sum(request.num_tokens_left for request in left)


@settings(max_examples=100, deadline=None)
@given(steps=steps, backlogged=st.sampled_from(TASKS))
def test_no_task_gets_more_than_a_waiting_one(steps: list[Step], backlogged: str) -> None:
    """While a task has queued requests, another is served at most two of the largest turns more per weight: the bound
    of virtual token counters, which holds between any two moments."""
    queue = FairQueue(WEIGHTS.__getitem__, TURN)
    for _ in range(400):
        queue.push(queued(backlogged, 20))
    bound = 2 * (TURN - 1 + MAX_LENGTH) / min(WEIGHTS.values())
    lead = dict.fromkeys(TASKS, 0.0)  # served more than `backlogged`, per weight
    least = dict(lead)
    requests: dict[str, list[Request]] = defaultdict(list)
    for what, task, number in steps:
        if what == "take":
            again, turn = None if number % 3 else number // 2, None if number % 4 else TURN // 2
            for part in queue.take(number, wanted, again_tokens=again, turn_tokens=turn):
                name, amount = part.request.task, part.num_tokens / WEIGHTS[part.request.task]
                for other in TASKS:
                    lead[other] += amount * (other == name) - amount * (name == backlogged)
            for other in TASKS:
                least[other] = min(least[other], lead[other])
                assert other == backlogged or lead[other] - least[other] <= bound
        elif what == "discard" and requests[task]:
            queue.discard(requests[task][-1 - number % len(requests[task])])
        elif what != "discard":
            request = queued(task, *([number] if what == "push" else [7] * number))
            if task != backlogged:
                requests[task].append(request)
            queue.push(request)


def test_backlogged_tasks_are_served_by_weight() -> None:
    """Tasks with long queues are served in the ratio of their weights, within two turns."""
    queue = FairQueue({"a": 1.0, "b": 3.0}.__getitem__)
    for task, length in (("a", 128), ("b", 8)):
        for _ in range(20_000 // length):
            queue.push(queued(task, length))
    total = dict.fromkeys("ab", 0)
    for _ in range(16):
        for part in queue.take(512, wanted):
            total[part.request.task] += part.num_tokens
        assert abs(total["b"] / 3 - total["a"]) <= 2 * (TURN_TOKENS + 128)
    assert total["b"] > 2 * total["a"]


def test_a_task_that_comes_back_has_no_credit() -> None:
    """A task that was idle while another was served starts level with it, not before it for all that time."""
    queue = FairQueue(of_weight_one)
    for _ in range(40):
        queue.push(queued("busy", 256))
    for _ in range(8):
        queue.take(512, wanted)
    for _ in range(40):
        queue.push(queued("idle", 256))
    parts = queue.take(2048, wanted)
    assert sum(part.num_tokens for part in parts if part.request.task == "idle") == 1024


def test_leaving_for_a_moment_clears_no_debt() -> None:
    """A task that is served far more than its turn, leaves and comes back still waits until the others are level."""
    queue = FairQueue(of_weight_one)
    for _ in range(10):
        queue.push(queued("steady", 100))
    queue.push(queued("greedy", 500))
    assert {part.request.task for part in queue.take(1000, wanted)} == {"steady", "greedy"}
    queue.push(queued("greedy", 500))
    assert [part.request.task for part in queue.take(100, wanted)] == ["steady"]


def test_leaving_an_empty_queue_clears_no_debt_either() -> None:
    """After an empty queue, the task that was served most comes behind a task that was served less."""
    queue = FairQueue(of_weight_one)
    queue.push(queued("greedy", 5000))
    queue.push(queued("modest", 10))
    assert len(queue.take(10_000, wanted)) == 2
    assert len(queue) == 0
    for task in ("modest", "greedy"):
        for _ in range(20):
            queue.push(queued(task, 100))
    assert {part.request.task for part in queue.take(1000, wanted)} == {"modest"}


def test_short_turns_cost_as_much_as_a_whole_one() -> None:
    """Tasks with little to compute go in the order of their arrival, whatever their lengths were until then."""
    queue = FairQueue(of_weight_one)
    for task, length in (("a", 200), ("b", 10), ("c", 100)):
        queue.push(queued(task, length))
    queue.take(500, wanted)
    for task in "acb":
        queue.push(queued(task, 20))
    assert [part.request.task for part in queue.take(500, wanted)] == ["a", "c", "b"]


def test_a_turn_is_continued_in_the_next_batch() -> None:
    """A turn that the batch had no room for goes on at the head of the next one, and ends after its tokens."""
    queue = FairQueue(of_weight_one, turn_tokens=100)
    for task in "ab":
        for _ in range(4):
            queue.push(queued(task, 50))
    takes = [[part.request.task for part in queue.take(50, wanted)] for _ in range(8)]
    assert [task for parts in takes for task in parts] == list("aabbaabb")


def test_a_second_turn_leaves_room_for_others() -> None:
    """Beyond `again_tokens` a batch takes no second turn of a task, but first turns of tasks served no more."""
    queue = FairQueue(of_weight_one, turn_tokens=100)
    for _ in range(20):
        queue.push(queued("hot", 50))
    assert served(queue.take(400, wanted, again_tokens=200)) == [("hot", 0, 1)] * 4
    for task in "ab":
        queue.push(queued(task, 150))
    assert [part.request.task for part in queue.take(400, wanted, again_tokens=50)] == ["hot", "hot", "a", "b"]
    assert len(served(queue.take(400, wanted, again_tokens=200))) == 4


def test_short_turns_hold_for_one_batch() -> None:
    """Each batch has turns of the length that it was asked for; a turn that was longer already ends."""
    queue = FairQueue(of_weight_one, turn_tokens=100)
    for task in "ab":
        for _ in range(20):
            queue.push(queued(task, 20))

    def turns(max_tokens: int, turn_tokens: int | None = None) -> str:
        return "".join(part.request.task for part in queue.take(max_tokens, wanted, turn_tokens=turn_tokens))

    assert turns(160, turn_tokens=40) == "aabbaabb"
    assert turns(160) == "aaaaabbb"
    assert turns(80, turn_tokens=40) == "bbaa"  # b has been charged less


def test_a_backlog_beside_light_tasks_is_contention() -> None:
    """A task with more queued than a batch holds competes with tasks that wait, or were served a moment ago."""
    queue = FairQueue(of_weight_one)
    assert not queue.is_contended(500)
    queue.push(queued("hot", *[50] * 400))
    assert not queue.is_contended(500)  # it is alone
    queue.push(queued("light", 10))
    assert not queue.is_contended(60_000)  # a batch holds all
    assert queue.is_contended(500)
    while any(part.request.task == "light" for part in queue.take(500, wanted)) or not queue._last_light:
        assert queue.is_contended(500)
    for _ in range(31):
        queue.take(500, wanted)
    assert queue.is_contended(500)
    for _ in range(4):
        queue.take(500, wanted)
    assert queue.num_tokens > 500
    assert not queue.is_contended(500)  # 16,384 tokens ago


def test_a_backlog_counts_early_if_it_outweighs_all_others() -> None:
    """Half of a batch is a backlog if it is more than a turn, and more than all other tasks have together."""
    queue = FairQueue(of_weight_one)
    for task, num_tokens in (("a", 150), ("b", 150), ("hot", 300)):
        queue.push(queued(task, *[50] * (num_tokens // 50)))
    assert not queue.is_contended(500)  # exactly as many
    queue.push(queued("hot", 1))
    assert queue.is_contended(500)
    assert queue.is_contended(600)
    assert queue.light_tokens(600) == 300
    assert not queue.is_contended(602)  # not half of a batch

    in_turn = FairQueue(of_weight_one)
    in_turn.push(queued("hot", fair_queue.TURN_TOKENS))
    in_turn.push(queued("light", 10))
    assert not in_turn.is_contended(300)


def test_a_backlog_fills_what_light_tasks_leave() -> None:
    """Batches of a backlog and few or many light requests have about as many tokens."""
    for num_light in (0, 2, 5, 9):
        queue = FairQueue(of_weight_one)
        queue.push(queued("hot", *[20] * 100))
        for light in range(num_light):
            queue.push(queued(f"light-{light}", 20))
        parts = queue.take(1000, wanted, again_tokens=300, turn_tokens=80)
        tokens = {part.request.task: part.num_tokens for part in parts if part.request.task != "hot"}
        assert len(tokens) == num_light
        assert sum(part.num_tokens for part in parts) == 300


def test_backlogs_alone_are_no_contention() -> None:
    """Tasks that all have more queued than a batch holds do not shorten each other's turns; nor does a task that has
    just got its backlog."""
    queue = FairQueue(of_weight_one)
    queue.push(queued("a", 50))
    queue.take(500, wanted)
    for task in "ab":
        queue.push(queued(task, *[50] * 100))
    assert not queue.is_contended(500)
    queue.take(500, wanted)
    assert not queue.is_contended(500)
    queue.discard(next(iter(queue._queues["b"].requests)))
    assert not queue.is_contended(500)


def test_tasks_served_more_wait_behind_a_second_turn() -> None:
    """The batch ends before a task with a higher counter than one that it leaves behind."""
    queue = FairQueue({"light": 0.1, "a": 1.0}.__getitem__, turn_tokens=100)
    for task in ("light", "a"):
        for _ in range(10):
            queue.push(queued(task, 100))
    assert [part.request.task for part in queue.take(200, wanted)] == ["light", "a"]  # their counters: 1000 and 100
    assert [part.request.task for part in queue.take(400, wanted, again_tokens=100)] == ["a"]
    assert [part.request.task for part in queue.take(400, wanted)] == ["a"] * 4


def test_first_come_first_served_inside_a_task() -> None:
    """Requests of one task are taken in the order of their arrival, independent of size and version."""
    queue = FairQueue(of_weight_one)
    requests = [queued("a", *[9] * number, slot=number % 2) for number in (5, 1, 30, 2)]
    for request in requests:
        queue.push(request)
    order = [part.request for _ in range(10) for part in queue.take(100, wanted)]
    firsts = list(dict.fromkeys(order))
    assert firsts == requests


def test_a_large_request_is_taken_in_parts() -> None:
    """An input that does not fit stays at the head, and the next part continues there."""
    queue = FairQueue(of_weight_one)
    queue.push(queued("a", *[100] * 8))
    parts = [part for _ in range(4) for part in queue.take(300, wanted)]
    ends = [0, *(part.first + len(part.encodings) for part in parts)]
    assert [part.first for part in parts] == ends[:-1]
    assert ends[-1] == 8
    assert all(end > start for start, end in pairwise(ends))


def test_an_input_longer_than_the_budget_is_taken_alone() -> None:
    """It would never fit otherwise."""
    queue = FairQueue(of_weight_one)
    queue.push(queued("a", 600))
    queue.push(queued("b", 10))
    assert served(queue.take(500, wanted)) == [("a", 0, 1)]
    assert served(queue.take(500, wanted)) == [("b", 0, 1)]


def test_unwanted_requests_are_not_charged() -> None:
    """Requests that are dropped when a batch is formed are not charged."""
    queue = FairQueue(of_weight_one)
    for _ in range(10):
        queue.push(queued("a", 200))
    queue.push(queued("a", 10))
    queue.push(queued("b", 10))
    parts = queue.take(15, lambda request: request.num_tokens_left == 200)
    assert served(parts) == [("a", 0, 1)]
    assert queue.num_tokens == 10
    queue.push(queued("a", 10))
    assert [part.request.task for part in queue.take(10, wanted)] == ["b"]


def test_what_is_given_back_is_not_charged() -> None:
    """A refund restores a task's counter, after its turn and within it."""
    queue = FairQueue(of_weight_one)
    for task in ("a", "a", "b", "b"):
        queue.push(queued(task, 200))
    queue.take(200, wanted)
    queue.refund("a", 200)  # its turn has 256 tokens
    assert [part.request.task for part in queue.take(500, wanted)] == ["b", "b"]
    assert [part.request.task for part in queue.take(500, wanted)] == ["a"]
    queue = FairQueue(of_weight_one, turn_tokens=200)
    for task in ("a", "a", "b", "b"):
        queue.push(queued(task, 200))
    (part,) = queue.take(200, wanted)
    assert part.request.task == "a"
    queue.refund("a", 200)
    queue.push(queued("c", 50))
    total = dict.fromkeys("abc", 0)
    for _ in range(2):
        for part in queue.take(200, wanted):
            total[part.request.task] += part.num_tokens
    assert total == {"a": 200, "b": 200, "c": 0}
