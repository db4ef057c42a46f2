"""The contract of docs/scheduling.md over several HTTP processes: bounds, fairness, deadlines, abandonment."""

import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.process_tree import connected_to_each, load, port_of, publish, wait_until
from tests.support.processes import Server, server_process
from tests.support.raw_client import Answer, Client, head

MAX_REQUESTS, MAX_TOKENS = 40, 512
FORWARD_S = 2.5
LENGTH = 64  # tokens of the text below, and the most that the tasks take
BODY = b'{"inputs": "%s"}' % (b"a " * 100)


def start(stack: ExitStack, folder: Path, tiny_folder: Path, tiny: LoadedBackbone, **settings: str) -> Server:
    """A server with the tasks a, b and c, and an engine that needs FORWARD_S a batch."""
    publish(f"sqlite:///{folder / 'registry.sqlite3'}", tiny.identity, {"a": 1, "b": 1, "c": 1})
    variable = f"INSTANT_ENGINE_MS={1000 * FORWARD_S:g}"
    command = "env", variable, sys.executable, "-m", "benchmarks.serving.instant_engine"
    given = {"backbone": str(tiny_folder), "publish_shipped_adapters": "false", "warmup": "false"}
    given |= {"max_predicted_latency_s": "60", "max_batch_tokens": "512", **settings}
    return stack.enter_context(server_process(folder, command=command, **given))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, tiny: LoadedBackbone) -> Iterator[Server]:
    """Three HTTP processes and room for MAX_REQUESTS requests."""
    with ExitStack() as stack:
        settings = {"http_workers": "3", "max_queued_requests": str(MAX_REQUESTS)}
        yield start(stack, tmp_path_factory.mktemp("server"), tiny_folder, tiny, **settings)


@pytest.fixture
def clients(server: Server) -> Iterator[list[Client]]:
    """Connections to all processes in turn, 20 to each."""
    wait_until(lambda: load(server).num_requests == 0)
    with connected_to_each(server, 3, each=20) as by_process:
        yield [
            client for group in zip(*(clients[:20] for clients in by_process.values()), strict=True) for client in group
        ]


def head_for(task: str, more: str = "") -> bytes:
    """Build the head of a prediction with BODY."""
    return head(f"Content-Length: {len(BODY)}", more, f"/v1/{task}/predict")


def is_answered(client: Client, within_s: float = 0) -> bool:
    return bool(select.select([client.connection], [], [], within_s)[0])


def check_rejection(answer: Answer, reason: bytes) -> None:
    """It is a 429 for that reason, and says when to come again."""
    assert answer.status == 429
    assert b'"reason":"%s"' % reason in answer.body
    assert 1 <= int(answer.headers["retry-after"]) <= 120


def test_what_is_late_or_abandoned_is_never_computed(server: Server, clients: list[Client]) -> None:
    """A request behind a running batch is answered 504 in time; one whose client leaves is dropped.

    The first test: once the speed is measured, the late request would be rejected at once.
    """
    before = computed(server)
    running, late, leaving = clients[:3]
    running.connection.sendall(head_for("a") + BODY)
    wait_until(lambda: load(server).num_requests == 1)
    time.sleep(FORWARD_S / 10)
    leaving.connection.sendall(head_for("c") + BODY)
    wait_until(lambda: "c" in load(server).held, FORWARD_S)
    leaving.close()
    started = time.monotonic()
    late.connection.sendall(head_for("b", "X-Request-Timeout-Ms: 700\r\n") + BODY)
    answer = late.read()
    took = time.monotonic() - started
    assert answer.status == 504
    assert 0.7 <= took < FORWARD_S / 2
    assert running.read().status == 200
    wait_until(lambda: load(server).num_requests == load(server).num_tokens == 0, 5)
    time.sleep(1.1)  # until a scrape is fresh
    assert computed(server) == before + 1


def computed(server: Server) -> float:
    """Inputs of all batches."""
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    return float(text.split("\nadakron_batch_size_sum ")[1].split()[0])


def test_the_bound_holds_over_all_processes_one_by_one(server: Server, clients: list[Client]) -> None:
    """Each request is admitted, or rejected from its head alone, exactly as one queue would decide."""
    held: dict[str, int] = {}
    admitted = []
    for number, client in enumerate(clients):
        task = "abc"[number % 7 % 3]
        before = sum(held.values())
        expected = MAX_REQUESTS - before >= max(1, held.get(task, 0))
        client.send(head_for(task))
        wait_until(lambda: is_answered(client) or load(server).num_requests > before)  # noqa: B023
        assert is_answered(client) is not expected, (number, held)
        if expected:
            held[task] = held.get(task, 0) + 1
            admitted.append(client)
        else:
            check_rejection(client.read(), b"queued_requests")
    assert max(held.values()) < MAX_REQUESTS / 2
    assert sum(held.values()) <= MAX_REQUESTS
    for client in admitted:
        client.send(BODY)
    assert {client.read().status for client in admitted} == {200}
    wait_until(lambda: load(server).num_requests == load(server).num_tokens == 0, 5)


def test_the_bound_holds_over_all_processes_at_once(server: Server, clients: list[Client]) -> None:
    """If 60 requests for one task arrive together, as many are admitted as leave that many free; no body is needed."""
    most = MAX_REQUESTS // 2 + 1
    for client in clients:
        client.connection.sendall(head_for("a"))
    rejected = len(clients) - most
    wait_until(lambda: sum(map(is_answered, clients)) >= rejected)
    assert load(server).num_requests == most
    waiting = [client for client in clients if not is_answered(client)]
    assert len(waiting) == most
    for client in clients:
        if client not in waiting:
            check_rejection(client.read(), b"queued_requests")
    for client in waiting:
        client.send(BODY)
    assert {client.read().status for client in waiting} == {200}


def test_tasks_of_different_processes_take_turns(server: Server, clients: list[Client]) -> None:
    """One text of b overtakes the queue of a: it waits for the running batch and the one formed ahead."""
    busy, other = clients[0::3][:20], clients[1]
    for client in busy:
        client.connection.sendall(head_for("a") + BODY)
    wait_until(lambda: load(server).num_requests == len(busy))
    other.connection.sendall(head_for("b") + BODY)
    assert other.read().status == 200
    num_before = sum(map(is_answered, busy))
    assert num_before <= 16, "a batch of 8 and two of 4: the budget falls with the first measurement"
    assert {client.read().status for client in busy} == {200}


def test_tokens_are_bounded_over_all_processes(tmp_path: Path, tiny_folder: Path, tiny: LoadedBackbone) -> None:
    """If 40 texts of 64 tokens arrive together, a bound of 512 admits 5: while twice what the task holds fits."""
    with ExitStack() as stack:
        settings = {"http_workers": "2", "max_queued_tokens": str(MAX_TOKENS)}
        server = start(stack, tmp_path, tiny_folder, tiny, **settings)
        clients = [Client(port_of(server)) for _ in range(40)]
        for client in clients:
            stack.callback(client.close)
            client.connection.sendall(head_for("a"))
        wait_until(lambda: load(server).num_requests == len(clients))
        for client in clients:
            client.connection.sendall(BODY)
        answers = [client.read() for client in clients]
        assert sorted({answer.status for answer in answers}) == [200, 429]
        assert sum(answer.status == 200 for answer in answers) == 5
        for answer in answers:
            if answer.status == 429:
                check_rejection(answer, b"queued_tokens")
        wait_until(lambda: load(server).num_requests == load(server).num_tokens == 0, 5)
