"""64 clients in a closed loop on an engine in simulated time: equal clients wait about equally long."""

import heapq
import itertools
import random
from typing import Protocol

import numpy as np
import pytest

from service.core import Request
from service.scheduling.fair_queue import TURN_TOKENS, FairQueue
from tests.support.reference_queue import SlowQueue
from tests.support.scheduling import queued

CLIENTS = 64
TOKENS_PER_S, PER_BATCH_S = 9000.0, 0.003
PAUSE_S = 0.006  # from an answer to the next request, drawn up to this
SECONDS, SETTLED_S = 40.0, 5.0
SHARE_LONG, LONG = 0.04, 128  # of the texts; the others are of 8 to 40 tokens, as sentences are


class Queue(Protocol):
    """A queue of requests with one input each."""

    def push(self, request: Request) -> None: ...

    def take_requests(self, max_tokens: int) -> list[Request]:
        """Take the next ones, of at most that many tokens."""


class Fair(FairQueue):
    """The queue of the server."""

    def take_requests(self, max_tokens: int) -> list[Request]:
        return [part.request for part in self.take(max_tokens, lambda _: False)]


class Exact(SlowQueue):
    """Counters of the exact tokens: a short turn counts no more than it has."""

    def __init__(self) -> None:
        super().__init__(TURN_TOKENS, least_charge=0)

    def take_requests(self, max_tokens: int) -> list[Request]:
        firsts = {task: [request for request, _ in entries] for task, entries in self.waiting.items()}
        return [firsts[task].pop(0) for task, _, _ in self.take(max_tokens)]


class FairBesideBacklogs(Fair):
    """The queue of the server, in short batches whenever it takes a task for one with a backlog."""

    num_batches = num_short = 0

    def take_requests(self, max_tokens: int) -> list[Request]:
        self.num_batches += 1
        if not self.is_contended(max_tokens // 2):
            return super().take_requests(max_tokens)
        self.num_short += 1
        return [part.request for part in self.take(max_tokens, lambda _: False, again_tokens=200, turn_tokens=80)]


def wait_s(queue: Queue, budget: int, own_tasks: bool, num_tasks: int = CLIENTS) -> np.ndarray:
    """[n] seconds from each request to its answer. Clients have a task of their own each, or draw one for each text."""
    draw, order = random.Random(0), itertools.count()
    arrivals: list[tuple[float, int, int]] = []
    queued_at: dict[Request, tuple[float, int]] = {}
    waits: list[float] = []
    for client in range(CLIENTS):
        heapq.heappush(arrivals, (draw.uniform(0, PAUSE_S), next(order), client))
    now = 0.0
    while now < SECONDS:
        if not queued_at:
            now = max(now, arrivals[0][0])
        while arrivals and arrivals[0][0] <= now:
            at, _, client = heapq.heappop(arrivals)
            length = LONG if draw.random() < SHARE_LONG else draw.randint(8, 40)
            request = queued(f"task-{client if own_tasks else draw.randrange(num_tasks)}", length)
            queued_at[request] = (at, client)
            queue.push(request)
        batch = queue.take_requests(budget)
        now += PER_BATCH_S + sum(len(request.encodings[0]) for request in batch) / TOKENS_PER_S
        for request in batch:
            at, client = queued_at.pop(request)
            if now > SETTLED_S:
                waits.append(now - at)
            heapq.heappush(arrivals, (now + draw.uniform(0, PAUSE_S), next(order), client))
    return np.array(waits)


def spread(waits: np.ndarray) -> float:
    """p99 over p50."""
    return float(np.percentile(waits, 99) / np.percentile(waits, 50))


@pytest.mark.parametrize("own_tasks", [True, False])
@pytest.mark.parametrize("budget", [256, 450, 900])
def test_equal_clients_wait_equally_long(budget: int, own_tasks: bool) -> None:
    """The p99 is at most twice the p50, however many batches one round of the clients takes."""
    assert spread(wait_s(Fair(lambda _: 1.0), budget, own_tasks)) <= 2.0


@pytest.mark.parametrize("own_tasks", [True, False])
def test_counters_of_exact_tokens_do_not(own_tasks: bool) -> None:
    """With counters of the exact tokens, a task with a long text would wait for many batches."""
    assert spread(wait_s(Exact(), 450, own_tasks)) > 3.0


@pytest.mark.parametrize("num_tasks", [10, CLIENTS])
def test_equal_clients_are_no_backlog(num_tasks: int) -> None:
    """Tasks that happen to have more queued than others are not taken for one with a backlog."""
    queue = FairBesideBacklogs(lambda _: 1.0)
    assert spread(wait_s(queue, 900, own_tasks=False, num_tasks=num_tasks)) < 2
    assert queue.num_short < 0.05 * queue.num_batches
