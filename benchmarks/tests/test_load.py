"""benchmarks.serving.load: what it says of a server is true."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.serving.connections import MAX_REFUSALS
from benchmarks.serving.load import NO_ANSWER, Results, closed_loop, http_request, open_loop_at, poisson, steady_rate

HOST = "127.0.0.1"
TOGETHER = 20


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, together: asyncio.Barrier) -> None:
    """`/ok` gets 200, `/parts` 429 in pieces, `/chunks` 200 in chunks, `/break` nothing; `/together` waits for more."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            path = head.split()[1]
            if path == b"/break":
                break
            if path == b"/together":
                await together.wait()
            if path == b"/chunks":
                pieces = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"0\r\n\r\n"]
            elif path == b"/parts":
                pieces = [b"HTTP/1.1 429 Too Many\r\nContent-Le", b"ngth: 4\r\n\r\nfu", b"ll"]
            else:
                pieces = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
    writer.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server in a thread of this process."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()

    async def serve(stop: asyncio.Event) -> None:
        together = asyncio.Barrier(TOGETHER)
        server = await asyncio.start_server(lambda reader, writer: _answer(reader, writer, together), HOST, 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        await server.wait_closed()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(stop),))
    thread.start()
    ready.wait()
    yield ports[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_closed_loop_takes_the_requests_in_turn_and_tells_each_status(port: int) -> None:
    """Every answer stands beside its own request, however it was sent: whole, in pieces, in chunks."""
    requests = [http_request(path, b"{}") for path in ("/ok", "/parts", "/chunks")]
    found = closed_loop(HOST, port, requests, clients=3, seconds=0.3).results()
    assert {index: set(found.status[found.index == index]) for index in range(3)} == {0: {200}, 1: {429}, 2: {200}}
    assert found.counts().keys() == {200, 429}
    assert len(found) == sum(found.counts().values())


def test_refusals_are_counted_by_their_reason(port: int) -> None:
    """The bodies of answers that are not 200 are kept: the first MAX_REFUSALS, with the fields that name the reason."""
    found = closed_loop(HOST, port, [http_request("/parts", b"{}")], clients=2, seconds=0.3).results()
    assert found.reasons().keys() == {"429 b'full'"}
    assert sum(found.reasons().values()) <= MAX_REFUSALS
    body = b'{"error": "wait", "error_type": "overloaded", "reason": "deadline"}'
    assert replace(found, refusals=[(429, body), (503, b"{}")]).reasons() == {"429 overloaded deadline": 1, "503": 1}


def test_a_broken_connection_is_a_result(port: int) -> None:
    """A request without an answer has the status NO_ANSWER, and the clients go on."""
    requests = [http_request("/break", b"{}"), http_request("/ok", b"{}")]
    found = closed_loop(HOST, port, requests, clients=2, seconds=0.5).results()
    assert set(found.status[found.index == 0]) == {NO_ANSWER}
    assert set(found.status[found.index == 1]) == {200}
    assert len(found) > 2


def test_a_server_that_is_not_there_gives_no_answers() -> None:
    """An open loop on a port without a server ends with NO_ANSWER for each arrival."""
    found = open_loop_at(HOST, 1, [http_request("/ok", b"")], np.array([0.0, 0.1]), 0.2).results()
    assert found.counts() == {NO_ANSWER: 2}


def test_open_loop_sends_every_arrival_at_its_time_and_in_its_order(port: int) -> None:
    """Starts are the times given, nothing is sent before its time, and `order` says which request it is."""
    requests = [http_request("/ok", b"{}"), http_request("/parts", b"{}")]
    arrivals = np.array([0.0, 0.01, 0.01, 0.2])
    found = open_loop_at(HOST, port, requests, arrivals, 0.25, order=np.array([1, 0, 0, 1])).results()
    by_start = np.argsort(found.start, kind="stable")
    assert found.start[by_start] - found.begin == pytest.approx(arrivals)
    assert list(found.status[by_start]) == [429, 200, 200, 429]
    assert (found.sent >= found.start).all()
    assert (found.end >= found.sent).all()


def test_open_loop_does_not_wait_for_answers(port: int) -> None:
    """Requests that are answered only when TOGETHER of them are under way are answered."""
    requests = [http_request("/together", b"{}")]
    found = open_loop_at(HOST, port, requests, np.linspace(0, 0.1, TOGETHER), 0.2).results()
    assert found.counts() == {200: TOGETHER}


def test_poisson_arrivals_have_the_rate_and_stay_in_the_window() -> None:
    """Equal seeds give equal times; their number matches the rate within five standard deviations."""
    times = poisson(100.0, 50.0, seed=1)
    assert abs(len(times) - 5000) < 5 * 5000**0.5
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 50
    assert np.array_equal(times, poisson(100.0, 50.0, seed=1))


def test_results_count_what_is_in_the_window() -> None:
    """Throughput counts answers by their arrival, percentiles requests by their start; both within the window."""
    start = np.array([0.0, 0.5, 0.9, 1.5])
    end = np.array([0.1, 0.6, 1.4, 1.6])
    status = np.array([200, 429, 200, 200])
    found = Results(np.arange(4), 10 + start, 10 + start, 10 + end, status, begin=10.0, seconds=1.0, cpu_s=0.0)
    assert found.throughput() == 1.0
    assert found.throughput(429) == 1.0
    assert found.throughput(200, within_s=0.05) == 0.0
    assert found.percentile_ms(100) == pytest.approx(500)
    assert list(found.within(0.5, 1.0).index) == [1, 2]
    assert list(found.of(200).index) == [0, 2, 3]


def test_the_steady_rate_counts_whole_batches() -> None:
    """Batches of two answers, 0.4 s apart, are the same rate wherever the window cuts them; nan without a whole one."""
    times = np.array([0.2, 0.201, 0.6, 0.601, 1.0, 1.001, 1.4])
    for begin in (0.1, 0.2):
        for end in (0.9, 1.0):
            assert steady_rate(times, np.full(7, 10.0), begin, end) == pytest.approx(40 / 0.8)
    assert np.isnan(steady_rate(times, np.ones(7), 0.0, 2.0))
    assert np.isnan(steady_rate(times, np.ones(7), 0.7, 0.9))
