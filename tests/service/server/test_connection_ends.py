"""How connections end, on real sockets: idle timers, clients that leave, and clients that still send."""

import gc
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from adapters.backbone.source import LoadedBackbone
from service.server import graceful_server as listening_module
from service.server.connection import Connection, connection_limit
from tests.support.log_lines import written
from tests.support.process_tree import wait_until
from tests.support.serving import Listening, listening

WAIT_S = 30
HEAD_S, KEEP_ALIVE_S = 0.5, 1.5
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
EARLY = b"POST /admin/v1/keys HTTP/1.1\r\nHost: x\r\n"  # 401 before its body is read


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server with the usual timeouts: on a busy machine a client may send nothing for a second."""
    with listening(tiny, tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server with short timeouts, for tests that are marked `alone`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listening_module, "KEEP_ALIVE_S", KEEP_ALIVE_S)
        with listening(tiny, tmp_path_factory.mktemp("data"), head_timeout_s=HEAD_S) as server:
            yield server


def connect(server: Listening) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_to_the_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.alone
def test_a_connection_that_sends_nothing(impatient: Listening) -> None:
    """A connection that sends nothing, or empty lines, is closed without a response."""
    for sent in (b"", b"\r\n"):
        with connect(impatient) as connection:
            started = time.monotonic()
            connection.sendall(sent)
            assert read_to_the_end(connection) == b""
            assert time.monotonic() - started > 0.9 * HEAD_S


@pytest.mark.alone
def test_a_head_that_trickles_in(impatient: Listening) -> None:
    """A head that is not complete in time gets 408, first on a connection or later, however steadily its bytes come."""
    for first in (b"", LIVE):
        with connect(impatient) as connection:
            connection.sendall(first)
            while first and b"ok" not in connection.recv(65536):
                pass
            connection.settimeout(0.01)
            answer, started = b"", time.monotonic()
            for byte in LIVE[:-2] + b"X: " + b"a" * 10_000:
                connection.sendall(bytes([byte]))
                with suppress(TimeoutError):
                    answer += connection.recv(65536)
                if answer:
                    break
            assert 0.9 * HEAD_S < time.monotonic() - started < WAIT_S
            connection.settimeout(WAIT_S)
            answer += read_to_the_end(connection)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"error_type":"head_timeout"' in answer


@pytest.mark.alone
def test_an_idle_connection_stays(impatient: Listening) -> None:
    """Between requests a connection may be idle for longer than a head may take; then it is closed silently."""
    with connect(impatient) as connection:
        connection.sendall(LIVE)
        assert b"ok" in connection.recv(65536)
        time.sleep(2 * HEAD_S)
        connection.sendall(LIVE)
        assert b"ok" in connection.recv(65536)
        assert read_to_the_end(connection) == b""


@pytest.mark.alone
def test_a_body_that_nothing_reads(impatient: Listening) -> None:
    """The rest of a body whose request is answered must arrive within the keep-alive time."""
    with connect(impatient) as connection:
        connection.sendall(EARLY + b"Content-Length: 1000000\r\n\r\n")
        answer, started = connection.recv(65536), time.monotonic()
        assert b" 401 " in answer
        connection.settimeout(0.05)
        with suppress(ConnectionError):
            while time.monotonic() - started < WAIT_S:
                connection.sendall(b"a")
                with suppress(TimeoutError):
                    if connection.recv(65536) == b"":
                        break
        assert 0.9 * KEEP_ALIVE_S < time.monotonic() - started < WAIT_S


def test_many_silent_connections(server: Listening) -> None:
    """While hundreds of connections send nothing, or part of a head, the server answers other clients."""
    with ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(connect(server))
            connection.sendall(LIVE[: number % 10])
        for _ in range(10):
            assert server.request("GET", "/health/live")[0] == 200


def test_more_connections_than_there_is_room_for(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """New clients take the places of idle ones; connections with a response, or a request in progress, stay."""
    monkeypatch.setattr(connection_limit, "max_connections", lambda: 20)
    with ExitStack() as stack:
        served, asking = stack.enter_context(connect(server)), stack.enter_context(connect(server))
        served.sendall(LIVE)
        assert b"ok" in served.recv(65536)
        head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        asking.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert asking.recv(65536).startswith(b"HTTP/1.1 100 ")  # before this it is idle itself
        silent = [stack.enter_context(connect(server)) for _ in range(100)]
        assert server.request("GET", "/health/live")[0] == 200
        served.sendall(LIVE)
        assert b"ok" in served.recv(65536)
        asking.sendall(b"{}")
        assert asking.recv(65536).startswith(b"HTTP/1.1 422 ")
        for connection in silent:
            connection.setblocking(False)
        assert sum(is_cut(connection) for connection in silent) >= 80


def is_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("head", [LIVE[:-2] + b"X: a\r\n", LIVE[:-2] + b"X: ", b"GET /", b"\r\n"])
def test_a_head_without_an_end(server: Listening, head: bytes) -> None:
    """A head of any size takes no memory; everything except empty lines is answered with an error."""
    data = {b"a\r\n": b"X: a\r\n", b"\r\n": b"\r\n"}.get(head[-3:], b"a") * 170_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with connect(server) as connection:
        connection.sendall(head)
        with suppress(ConnectionError):
            for _ in range(50):
                connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            answer = read_to_the_end(connection)
        if head != b"\r\n":
            assert answer[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 414")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB


def test_an_answer_reaches_a_client_that_still_sends(server: Listening) -> None:
    """A client that sends all of a large upload before it reads gets the response, and no reset."""
    with connect(server) as connection:
        connection.sendall(EARLY + b"Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n")
        connection.sendall(bytes(20_000_000))
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close\r\n" in answer


@pytest.mark.parametrize("sent", [LIVE, LIVE * 3, LIVE + LIVE[:9], EARLY + b"Content-Length: 9\r\n\r\n"])
def test_a_client_that_half_closes(server: Listening, sent: bytes) -> None:
    """A client that closes its sending half after its requests gets all responses, then the connection ends."""
    with connect(server) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_the_end(connection).count(b"HTTP/1.1 ") == max(1, sent.count(LIVE))


def test_departures_leave_nothing_in_the_log(server: Listening) -> None:
    """Clients that leave before or during their responses, in any way, cause no line in the log."""
    with written() as lines:
        for sent in (
            b"",
            LIVE[:9],
            LIVE,
            LIVE * 500,
            EARLY + b"Content-Length: 9\r\n\r\nabc",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
        ):
            for reset in (False, True):
                for _ in range(5):
                    connection = connect(server)
                    if reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    connection.sendall(sent)
                    connection.close()
        for _ in range(20):
            assert server.request("GET", "/health/live")[0] == 200
    assert [line for line in lines if '"level": "error"' in line or "Traceback" in line or "xception" in line] == []


@pytest.mark.parametrize(
    ("sent", "is_answered"),
    [
        pytest.param(b"", False, id="silent"),
        pytest.param(LIVE, True, id="answered"),
        pytest.param(LIVE[:-2], False, id="half a head"),
        pytest.param(EARLY + b"Content-Length: 9\r\n\r\n", True, id="half a body"),
        pytest.param(b"\0\r\n\r\n", True, id="not HTTP"),
    ],
)
def test_an_ended_connection_is_freed_at_once(server: Listening, sent: bytes, is_answered: bool) -> None:
    """It is in no cycle of references: garbage collection is rare in an HTTP process, and memory would grow."""
    gc.collect()
    gc.disable()
    try:
        with ExitStack() as stack:
            for _ in range(5):
                connection = stack.enter_context(connect(server))
                connection.sendall(sent)
                if is_answered:
                    assert connection.recv(1)
            wait_until(lambda: is_answered or num_connection_objects() >= 5)
        wait_until(lambda: num_connection_objects() == 0)
    finally:
        gc.enable()


def num_connection_objects() -> int:
    return sum(type(each) is Connection for each in gc.get_objects())
